/**
 * Where the newest version of each sector is: the owner's own log (`active`, then what is frozen, newest first), then the
 * inherited logs, newest first, then clean blocks, then the backing. Only acknowledged records are in it (R15); logs at or below base are dropped, so
 * an older log never shows a version that a newer one has already destaged (R12).
 */
import { assert } from '../core/assert.js'
import type { InheritedLog } from '../core/claim.js'
import { IndexLayer } from '../core/index-layer.js'
import { RUN, type Layer } from '../core/layer.js'
import { RunBuffer } from '../core/run-list.js'
import { won as toWon, type Won } from '../core/units.js'
import type { CleanBlocks } from '../ports/clean.js'

export const SOURCE = { backing: 0, local: 1, zero: 2, remote: 3, clean: 4 } as const
export type Source = (typeof SOURCE)[keyof typeof SOURCE]

/** One span of one log. */
export interface Level {
  /** Null: the holder's map is not here yet, so every read asks the holder. */
  layer: Layer | null
  /** Set for a log that only other hosts hold. */
  remote: InheritedLog | null
  /** Of its log; 0: the own log that is being written. */
  epoch: number
  /** Won of its last record; 0 while records still join it. */
  readonly cut: Won
  /** It holds what came between two guest flushes, so any part of it may reach the backing before the rest. */
  readonly betweenFlushes: boolean
}

/** What one cut destages: `levels` oldest first, and the won up to which the backing is the guest's disk afterwards. */
export interface Cut { readonly levels: readonly Level[]; readonly cut: Won }

/** Visits one run of a lookup; `level` is the level that answered (null below all of them). */
export type RunVisitor = (source: Source, level: Level | null, lba: number, sectors: number, location: number) => void

export class VolumeIndex {
  #active: Level = activeLevel()
  /** Parts of the own log that end at a cut, oldest first; immutable. */
  #frozen: Level[] = []
  /** Oldest first, as in the claim. */
  #inherited: Level[] = []
  /** Something inherited was hidden by a base that is not this host's own. */
  #hidden = false
  /** Newest first: what a lookup walks. */
  #levels: Level[] = [this.#active]
  readonly #scratch: RunBuffer[] = []
  readonly #clean: CleanBlocks | null

  /** `clean`: null without a read cache. */
  constructor(clean: CleanBlocks | null = null) { this.#clean = clean }

  get active(): Layer { return this.#active.layer! }
  get frozenCuts(): number { return this.#frozen.length }

  /** The guest flushed, and what it writes next joins the same level. */
  passFlush(): void {
    if (!this.#active.betweenFlushes) return
    this.#active = { ...this.#active, betweenFlushes: false }
    this.#relink()
  }
  get inherited(): readonly Level[] { return this.#inherited }

  /** Bytes above base as far as they are known here; remote logs without a map count as zero. */
  get dirtyBytes(): number {
    let sectors = 0
    for (const level of this.#levels) sectors += level.layer?.dirtySectors ?? 0
    return sectors * 512
  }

  get empty(): boolean {
    return this.#levels.every((level) => level.layer !== null && level.layer.empty)
  }

  /** `visit` must not look up again before this returns. */
  resolve(lba: number, sectors: number, visit: RunVisitor): void { this.#walk(0, lba, sectors, visit) }

  /** Resolves what `level` turned out not to have; from the top when that level has been retired meanwhile. */
  resolveBelow(level: Level, lba: number, sectors: number, visit: RunVisitor): void {
    this.#walk(this.#levels.indexOf(level) + 1, lba, sectors, visit)
  }

  #walk(depth: number, lba: number, sectors: number, visit: RunVisitor): void {
    const level = this.#levels[depth]
    if (level === undefined) { this.#below(lba, sectors, visit); return }
    if (level.layer === null) { visit(SOURCE.remote, level, lba, sectors, 0); return }
    if (level.layer.empty) { this.#walk(depth + 1, lba, sectors, visit); return }
    const runs = (this.#scratch[depth] ??= new RunBuffer())
    runs.reset()
    level.layer.lookup(lba, sectors, runs)
    for (let i = 0; i < runs.count; i++) {
      const from = runs.lba[i]!, length = runs.sectors[i]!, kind = runs.kind[i]!
      if (kind === RUN.absent) this.#walk(depth + 1, from, length, visit)
      else if (kind === RUN.zero) visit(SOURCE.zero, level, from, length, 0)
      else visit(level.remote === null ? SOURCE.local : SOURCE.remote, level, from, length, runs.location[i]!)
    }
  }

  #below(lba: number, sectors: number, visit: RunVisitor): void {
    if (this.#clean === null) { visit(SOURCE.backing, null, lba, sectors, 0); return }
    this.#clean.lookup(lba, sectors, (from, length, location) => { visit(SOURCE.clean, null, from, length, location) },
      (from, length) => { visit(SOURCE.backing, null, from, length, 0) })
  }

  /** Is any of these sectors in the own log and not destaged? (write-through reads wait for those) */
  touchesOwn(lba: number, sectors: number): boolean {
    let hit = false
    const runs = (this.#scratch[0] ??= new RunBuffer())
    for (const { layer } of [this.#active, ...this.#frozen]) {
      if (layer === null || layer.empty) continue
      runs.reset()
      layer.lookup(lba, sectors, runs)
      for (let i = 0; i < runs.count; i++) hit ||= runs.kind[i] !== RUN.absent
    }
    return hit
  }

  /** What is active now ends at `cut` and is immutable until it is destaged. */
  freeze(cut: Won): void {
    const last = this.#frozen.at(-1)
    assert(last === undefined || cut >= last.cut, 'cuts are frozen in order')
    this.#frozen.push({ ...this.#active, cut })
    this.#active = activeLevel()
    this.#relink()
  }

  /**
   * What is frozen and not above `upTo`: all of it, or only the oldest level where no two may become one
   * (order = "flush"). Null when nothing is.
   */
  nextCut(oneLevel: boolean, upTo: Won): Cut | null {
    const levels = [...this.#inherited, ...this.#frozen].filter((level) => level.cut <= upTo)
    if (levels.length === 0) return null
    const taken = oneLevel ? levels.slice(0, 1) : levels
    return { levels: taken, cut: taken.at(-1)!.cut }
  }

  /** These levels are on the backing, flushed, and base is durable: they are hidden from now on (R12). */
  retire(levels: readonly Level[]): void {
    this.#frozen = this.#frozen.filter((level) => !levels.includes(level))
    this.#inherited = this.#inherited.filter((level) => !levels.includes(level))
    this.#relink()
  }

  /** Somebody else has this base: inherited logs that it covers are on the backing, whatever they still hold (R12). */
  hide(base: Won): void {
    const hidden = this.#inherited.filter((level) => level.cut <= base)
    if (hidden.length === 0) return
    this.retire(hidden)
    this.#hidden = true
  }

  /** A running owner's claim change: its own log of `epoch`, which ended at `end`, becomes the newest inherited one, still read locally. */
  sealOwn(epoch: number, end: Won): void {
    // The very levels: a cut that is under way retires them.
    for (const level of this.#frozen) level.epoch = epoch
    this.#inherited.push(...this.#frozen)
    if (!this.active.empty) this.#inherited.push({ ...this.#active, epoch, cut: end })
    this.#frozen = []
    this.#active = activeLevel()
    this.#relink()
  }

  /** Another claim: whoever holds a log now is asked for it. */
  named(logs: readonly InheritedLog[]): void {
    for (const level of this.#inherited) if (level.remote !== null) level.remote = logs.find((log) => log.epoch === level.epoch) ?? level.remote
  }

  /** What was read here of these logs is left to their holders, who are others. */
  leave(logs: readonly InheritedLog[]): void {
    for (const log of logs) {
      const first = this.#inherited.findIndex((level) => level.epoch === log.epoch && level.remote === null)
      if (first < 0) continue
      const rest = this.#inherited.filter((level) => level.epoch !== log.epoch)
      rest.splice(first, 0, { layer: null, remote: log, epoch: log.epoch, cut: toWon(log.start + log.kept), betweenFlushes: false })
      this.#inherited = rest
    }
    this.#relink()
  }

  /** What is here of the log of this epoch (0: the own one), newest first; null unless all that is above this host's base is. */
  layersOf(epoch: number): Layer[] | null {
    if (epoch !== 0 && this.#hidden) return null
    const layers = this.#levels.filter((level) => level.epoch === epoch).map(({ layer, remote }) => remote === null ? layer : null)
    return layers.every((layer) => layer !== null) ? layers : null
  }

  /** The log that others were asked for is read here from now on; no cut is under way. */
  arrived(level: Level, layer: Layer): void {
    const at = this.#inherited.indexOf(level)
    if (at < 0) return
    this.#inherited[at] = { ...level, layer, remote: null }
    this.#relink()
  }

  has(level: Level): boolean { return this.#levels.includes(level) }

  /** A new owner's start: inherited logs, oldest first. */
  inherit(levels: readonly Level[]): void {
    this.#active = activeLevel()
    this.#frozen = []
    this.#inherited = [...levels]
    this.#hidden = false
    this.#relink()
  }

  #relink(): void { this.#levels = [...this.#inherited, ...this.#frozen, this.#active].reverse() }
}

const activeLevel = (): Level => ({ layer: new IndexLayer(), remote: null, epoch: 0, cut: toWon(0), betweenFlushes: true })
