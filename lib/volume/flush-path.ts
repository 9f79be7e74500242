/**
 * Guest FLUSH: everything acknowledged before it is power-safe on the region and on every member. It never waits for
 * the backing. One flush runs at a time; those that arrive meanwhile share the next one.
 */
import { STATUS, type Status } from '../ports/guest.js'
import type { CompletionTarget } from '../ports/io.js'
import type { Region } from '../ports/region.js'
import type { Push } from '../ports/peer.js'
import type { Won } from '../core/units.js'
import type { Counters } from './counters.js'
import type { EpochLog } from './epoch-log.js'

export interface FlushShell {
  readonly region: Region
  readonly counters: Counters
  push(host: string, message: Push): boolean
  /** Members that must confirm: the set without the owner. */
  members(): readonly string[]
  /** A guest flush is about to be answered: what is acknowledged so far comes before what the guest writes next. */
  boundary(): void
  regionFailed(reason: string): void
  nowMs(): number
}

/** Who waits for a flush: a guest's request, or the write path. */
export interface FlushWaiter { complete(status: Status): void }

export class FlushPath implements CompletionTarget {
  readonly #shell: FlushShell
  #epoch: EpochLog | null = null
  #waiting: FlushWaiter[] = []
  #served: FlushWaiter[] = []
  #target: Won | null = null
  #localPending = false
  #askedAtMs = 0
  readonly #awaited = new Set<string>()
  /** A completion of an earlier epoch's flush is told by its token. */
  #round = 0

  constructor(shell: FlushShell) { this.#shell = shell }

  submit(request: FlushWaiter): void {
    this.#waiting.push(request)
    this.#next()
  }

  /** A new epoch: what an old one had not confirmed is asked for again, of the new members. */
  begin(epoch: EpochLog): void {
    this.#epoch = epoch
    this.#abandon()
    this.#next()
  }

  end(): void {
    this.#epoch = null
    this.#abandon()
  }

  #abandon(): void {
    this.#waiting = [...this.#served, ...this.#waiting]
    this.#served = []
    this.#target = null
    this.#awaited.clear()
    this.#round++
  }

  #next(): void {
    const epoch = this.#epoch
    if (epoch === null || this.#target !== null || this.#waiting.length === 0) return
    // Write-through acknowledges after the backing's own flush: nothing is left to do.
    if (epoch.claim.mode === 'write-through' || epoch.flushed >= epoch.ackedWon) {
      this.#shell.boundary()
      for (const request of this.#waiting.splice(0)) request.complete(STATUS.ok)
      return
    }
    this.#served = this.#waiting
    this.#waiting = []
    this.#target = epoch.ackedWon
    this.#askedAtMs = this.#shell.nowMs()
    this.#round++
    this.#localPending = true
    for (const host of this.#shell.members()) {
      this.#awaited.add(host)
      this.#ask(host)
    }
    this.#shell.region.flush(this, this.#round)
  }

  #ask(host: string): void {
    const epoch = this.#epoch!
    this.#shell.push(host, { type: 'flush', volume: epoch.claim.volume, epoch: epoch.epoch, won: this.#target! })
  }

  /** The member connected anew: a flush asked before may have been lost with the old connection. */
  connected(host: string): void {
    if (this.#target !== null && this.#awaited.has(host)) this.#ask(host)
  }

  /** Hosts that owe a flush for longer than the deadline. */
  lateHosts(deadlineMs: number): string[] {
    if (this.#target === null || this.#shell.nowMs() - this.#askedAtMs <= deadlineMs) return []
    return [...this.#awaited]
  }

  complete(token: number, result: number): void {
    if (token !== this.#round || this.#target === null) return
    if (result < 0) { this.#shell.regionFailed(`flush failed with errno ${-result}`); return }
    this.#shell.counters.measured.region.flush.add((this.#shell.nowMs() - this.#askedAtMs) * 1000)
    this.#localPending = false
    this.#finish()
  }

  memberFlushed(host: string, epoch: number, won: Won): void {
    if (this.#target === null || this.#epoch?.epoch !== epoch || won < this.#target) return
    if (this.#awaited.delete(host)) this.#shell.counters.measured.peer.flush.add((this.#shell.nowMs() - this.#askedAtMs) * 1000)
    this.#finish()
  }

  #finish(): void {
    if (this.#localPending || this.#awaited.size > 0) return
    this.#epoch!.flushedTo(this.#target!)
    this.#target = null
    this.#shell.boundary()
    for (const request of this.#served.splice(0)) request.complete(STATUS.ok)
    this.#next()
  }
}
