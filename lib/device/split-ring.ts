/**
 * A split virtqueue in guest memory: the driver's side is read with care (each descriptor once, every index checked),
 * the device's side is published in batches. Plain loads for descriptors, atomic ones for the two indices.
 */
import { limits } from '../limits.js'
import { ProtocolError } from '../vhost/connection.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'

const NO_INTERRUPT = 1

export interface RingAddresses {
  readonly desc: number
  readonly avail: number
  readonly used: number
  /** Guest address of the used ring, for the dirty log. */
  readonly log: number
  readonly logged: boolean
}

export class SplitRing {
  readonly size: number
  readonly eventIdx: boolean
  lastAvail: number
  /** Next used entry to fill; runs ahead of the published index within a batch. */
  usedIdx = 0
  /** Used index at the last actual signal: suppression is counted from there, not from the last check. */
  #signalled = 0
  #published = 0
  #desc!: DataView
  #descAt = 0
  #avail!: Uint16Array
  #used!: DataView
  #usedAt = 0
  #used16!: Uint16Array
  #addresses: RingAddresses

  constructor(size: number, eventIdx: boolean, addresses: RingAddresses, table: MemoryTable, lastAvail: number) {
    this.size = size
    this.eventIdx = eventIdx
    this.#addresses = addresses
    this.lastAvail = lastAvail
    this.remap(table)
    this.usedIdx = Atomics.load(this.#used16, 1)
    this.#signalled = this.usedIdx
    this.#published = this.usedIdx
  }

  /** Finds the ring's parts again: the memory table, or a log flag, has changed. */
  remap(table: MemoryTable, addresses: RingAddresses = this.#addresses): void {
    this.#addresses = addresses
    const desc = place(table, 'descriptor table', addresses.desc, this.size * 16, 16)
    const avail = place(table, 'available ring', addresses.avail, 6 + this.size * 2, 2)
    const used = place(table, 'used ring', addresses.used, 6 + this.size * 8, 4)
    this.#desc = desc.view
    this.#descAt = desc.at
    this.#avail = new Uint16Array(avail.view.buffer, avail.view.byteOffset + avail.at, 3 + this.size)
    this.#used = used.view
    this.#usedAt = used.at
    this.#used16 = new Uint16Array(used.view.buffer, used.view.byteOffset + used.at, 3 + this.size * 4)
  }

  get table(): DataView { return this.#desc }
  /** Byte position of descriptor `index` in `table`. */
  descriptorAt(index: number): number { return this.#descAt + index * 16 }

  /** Chains that wait, 0 to 65535; more than `size` is a broken ring. */
  waiting(): number { return (Atomics.load(this.#avail, 1) - this.lastAvail) & 0xffff }

  head(): number { return this.#avail[2 + this.lastAvail % this.size]! }

  advance(): void { this.lastAvail = (this.lastAvail + 1) & 0xffff }

  /** Asks to be told of the next chain; true when one has arrived meanwhile. */
  arm(log: DirtyLog | null): boolean {
    if (!this.eventIdx) return this.waiting() !== 0
    const at = 2 + this.size * 4
    Atomics.store(this.#used16, at, this.lastAvail)
    this.#mark(log, at * 2, 2)
    return this.waiting() !== 0
  }

  pushUsed(head: number, writtenBytes: number, log: DirtyLog | null): void {
    const at = 4 + (this.usedIdx % this.size) * 8
    this.#used.setUint32(this.#usedAt + at, head, true)
    this.#used.setUint32(this.#usedAt + at + 4, writtenBytes, true)
    this.#mark(log, at, 8)
    this.usedIdx = (this.usedIdx + 1) & 0xffff
  }

  /** Publishes what was pushed; true when the guest wants an interrupt for it. */
  publish(log: DirtyLog | null): boolean {
    // Atomics.store is a full barrier: the event index below is read after the used index is seen.
    Atomics.store(this.#used16, 1, this.usedIdx)
    this.#published = this.usedIdx
    // After the store: a bitmap that is read and cleared in between would miss the new index.
    this.#mark(log, 2, 2)
    if (!this.eventIdx) return (Atomics.load(this.#avail, 0) & NO_INTERRUPT) === 0
    const event = Atomics.load(this.#avail, 2 + this.size)
    const wanted = ((this.usedIdx - event - 1) & 0xffff) < ((this.usedIdx - this.#signalled) & 0xffff)
    if (wanted) this.#signalled = this.usedIdx
    return wanted
  }

  /** Used entries that the guest was not shown yet. */
  get unpublished(): number { return (this.usedIdx - this.#published) & 0xffff }

  #mark(log: DirtyLog | null, offset: number, lengthBytes: number): void {
    if (log !== null && this.#addresses.logged) log.mark(this.#addresses.log + offset, lengthBytes)
  }
}

function place(table: MemoryTable, what: string, address: number, lengthBytes: number, align: number): { view: DataView; at: number } {
  const found = table.findUser(address, lengthBytes)
  if (found === null) throw new ProtocolError(`the ${what} at ${address.toString(16)} lies outside the shared memory (is the guest's memory share=on?)`)
  // The offset too: views are built on it, and a region may lie at an odd place itself.
  if (address % align !== 0 || found.offset % align !== 0 || found.region.address % align !== 0) throw new ProtocolError(`the ${what} at ${address.toString(16)} is not aligned to ${align}`)
  return { view: found.region.window(found.offset), at: found.offset % limits.memoryWindowBytes }
}
