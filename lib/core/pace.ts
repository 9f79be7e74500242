/**
 * How long the members of a set take to confirm records, and who is too slow for too long. One record at a time is watched, so that
 * the path of every record pays nothing: the next one when all have confirmed it.
 */
import { assert } from './assert.js'

export interface PaceLimits {
  /** A member that takes longer than this, in the mean, is slow; at half of it, it is not any more. */
  readonly slowMs: number
  /** For so long, before anything follows from it. */
  readonly forMs: number
}

/** Weight of the newest sample: a few dozen records forget what was. */
const WEIGHT = 0.1
/** What all suffer from is no member's fault: so many times slower than the owner's own region. */
const TIMES_OWN = 4

interface Pace { meanMs: number; slowSinceMs: number | null; sampledAtMs: number; owes: boolean }

export class Paces {
  readonly #paces: Pace[]
  readonly #self: number
  #won = 0
  #sentMs = 0
  #owing = 0

  /** `self`: the owner's own place in the set. */
  constructor(members: number, self: number) {
    assert(self >= 0 && self < members, 'the owner is a member of its own set')
    this.#self = self
    this.#paces = Array.from({ length: members }, () => ({ meanMs: 0, slowSinceMs: null, sampledAtMs: 0, owes: false }))
  }

  /** True while the next record is to be watched: only then is the time asked for. */
  get idle(): boolean { return this.#owing === 0 }

  sent(won: number, nowMs: number): void {
    assert(this.idle, 'one record is watched at a time')
    this.#won = won
    this.#sentMs = nowMs
    for (const pace of this.#paces) pace.owes = true
    this.#owing = this.#paces.length
  }

  /** `member` has everything up to `won`. */
  confirmed(member: number, won: number, nowMs: number, { slowMs }: PaceLimits): void {
    const pace = this.#paces[member]!
    if (!pace.owes || won < this.#won) return
    pace.owes = false
    this.#owing--
    const tookMs = nowMs - this.#sentMs
    pace.meanMs += (pace.sampledAtMs === 0 ? 1 : WEIGHT) * (tookMs - pace.meanMs)
    pace.sampledAtMs = nowMs
    if (pace.meanMs > slowMs) pace.slowSinceMs ??= nowMs
    else if (pace.meanMs < slowMs / 2) pace.slowSinceMs = null
  }

  /** Milliseconds in the mean. */
  meanMs(member: number): number { return this.#paces[member]!.meanMs }

  /** Slow all the time, with records to confirm, and not because everything is. */
  tooSlow(member: number, nowMs: number, { slowMs, forMs }: PaceLimits): boolean {
    const pace = this.#paces[member]!, own = this.#paces[this.#self]!
    if (pace.slowSinceMs === null || nowMs - pace.sampledAtMs > forMs) return false
    return nowMs - pace.slowSinceMs >= forMs && pace.meanMs > slowMs / 2 && pace.meanMs >= TIMES_OWN * own.meanMs
  }
}
