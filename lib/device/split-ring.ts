/**
 * A split virtqueue in guest memory: the driver's side is read with care (each descriptor once, every index checked),
 * the device's side is published in batches. Plain loads for descriptors, atomic ones for the two indices.
 */
import { ProtocolError } from '../vhost/connection.js'
import { ChainSource } from './chain-source.js'
import { BROKEN, place, type DeviceRing, type RingAddresses } from './device-ring.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'
import type { SplitInflight } from './inflight-split.js'

const NO_INTERRUPT = 1

export class SplitRing implements DeviceRing {
  readonly packed = false
  readonly size: number
  readonly chain: ChainSource
  problem = ''
  readonly #eventIdx: boolean
  readonly #inflight: SplitInflight | null
  #lastAvail: number
  /** Next used entry to fill; runs ahead of the published index within a batch. */
  #usedIdx = 0
  /** Used index at the last actual signal: suppression is counted from there, not from the last check. */
  #signalled = 0
  #published = 0
  /** Taken and not shown as used. */
  #open = 0
  #avail!: Uint16Array
  #used!: DataView
  #usedAt = 0
  #used16!: Uint16Array
  #addresses: RingAddresses

  constructor(size: number, eventIdx: boolean, addresses: RingAddresses, table: MemoryTable, base: number, inflight: SplitInflight | null) {
    if ((size & (size - 1)) !== 0) throw new ProtocolError(`a split ring of ${size} entries, which is no power of two`)
    this.size = size
    this.#eventIdx = eventIdx
    this.#inflight = inflight
    this.#addresses = addresses
    this.#lastAvail = base & 0xffff
    const desc = place(table, 'descriptor table', addresses.desc, size * 16, 16)
    this.chain = new ChainSource(false, desc.view, desc.at, size)
    this.remap(table)
    this.#usedIdx = Atomics.load(this.#used16, 1)
    this.#signalled = this.#usedIdx
    this.#published = this.#usedIdx
  }

  remap(table: MemoryTable, addresses: RingAddresses = this.#addresses): void {
    this.#addresses = addresses
    const desc = place(table, 'descriptor table', addresses.desc, this.size * 16, 16)
    const avail = place(table, 'available ring', addresses.avail, 6 + this.size * 2, 2)
    const used = place(table, 'used ring', addresses.used, 6 + this.size * 8, 4)
    this.chain.view = desc.view
    this.chain.at = desc.at
    this.#avail = new Uint16Array(avail.view.buffer, avail.view.byteOffset + avail.at, 3 + this.size)
    this.#used = used.view
    this.#usedAt = used.at
    this.#used16 = new Uint16Array(used.view.buffer, used.view.byteOffset + used.at, 3 + this.size * 4)
  }

  get base(): number { return this.#lastAvail }
  get untouched(): boolean { return this.#usedIdx === 0 }

  /** A region that has been used knows better than the front end what was taken: the used index and what is open. */
  resume(): number[] {
    if (this.#inflight === null) return []
    const { fresh } = this.#inflight
    const again = this.#inflight.recover(this.#usedIdx)
    if (!fresh) this.#lastAvail = (this.#usedIdx + again.length) & 0xffff
    this.#open = again.length
    return again
  }

  waiting(): number { return (Atomics.load(this.#avail, 1) - this.#lastAvail) & 0xffff }
  more(left: number): number { return left - 1 }

  select(): number {
    if (this.#open >= this.size) {
      this.problem = `descriptors of a ring of ${this.size} are used again before they came back`
      return BROKEN
    }
    this.chain.first = this.#avail[2 + this.#lastAvail % this.size]!
    return this.chain.first
  }

  reselect(head: number): void { this.chain.first = head }

  advance(): void {
    this.#inflight?.take(this.chain.first)
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff
    this.#open++
  }

  arm(log: DirtyLog | null): boolean {
    if (!this.#eventIdx) return this.waiting() !== 0
    const at = 2 + this.size * 4
    Atomics.store(this.#used16, at, this.#lastAvail)
    this.#mark(log, at * 2, 2)
    return this.waiting() !== 0
  }

  pushUsed(head: number, writtenBytes: number, log: DirtyLog | null): void {
    const at = 4 + (this.#usedIdx % this.size) * 8
    this.#used.setUint32(this.#usedAt + at, head, true)
    this.#used.setUint32(this.#usedAt + at + 4, writtenBytes, true)
    this.#mark(log, at, 8)
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff
    this.#inflight?.complete(head)
  }

  publish(log: DirtyLog | null): boolean {
    // Atomics.store is a full barrier: the event index below is read after the used index is seen.
    Atomics.store(this.#used16, 1, this.#usedIdx)
    this.#open -= this.unpublished
    this.#published = this.#usedIdx
    this.#inflight?.published(this.#usedIdx)
    // After the store: a bitmap that is read and cleared in between would miss the new index.
    this.#mark(log, 2, 2)
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & NO_INTERRUPT) === 0
    const event = Atomics.load(this.#avail, 2 + this.size)
    const wanted = ((this.#usedIdx - event - 1) & 0xffff) < ((this.#usedIdx - this.#signalled) & 0xffff)
    if (wanted) this.#signalled = this.#usedIdx
    return wanted
  }

  get unpublished(): number { return (this.#usedIdx - this.#published) & 0xffff }

  #mark(log: DirtyLog | null, offset: number, lengthBytes: number): void {
    if (log !== null && this.#addresses.logged) log.mark(this.#addresses.log + offset, lengthBytes)
  }
}
