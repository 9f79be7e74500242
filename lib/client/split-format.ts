/** The driver's side of a split ring: every slot has three descriptors of its own. */
import { CHAIN, DESC_BYTES, NEXT, NONE, WRITE, round, type Chain, type RingFormat } from './ring-format.js'
import type { SharedMemory } from './memory.js'

export class SplitFormat implements RingFormat {
  readonly descAt: number
  readonly availAt: number
  readonly usedAt: number
  readonly #size: number
  readonly #memory: SharedMemory
  readonly #avail: Uint16Array
  readonly #used: Uint16Array
  #availIdx = 0
  #usedIdx = 0
  #kicked = 0

  static bytes(size: number): number { return round(size * DESC_BYTES, 64) + round(6 + size * 2, 64) + round(6 + size * 8, 64) }

  constructor(memory: SharedMemory, at: number, size: number) {
    this.#memory = memory
    this.#size = size
    this.descAt = at
    this.availAt = at + round(size * DESC_BYTES, 64)
    this.usedAt = this.availAt + round(6 + size * 2, 64)
    this.#avail = new Uint16Array(memory.bytes.buffer, this.availAt, 3 + size)
    this.#used = new Uint16Array(memory.bytes.buffer, this.usedAt, 3 + size * 4)
  }

  get base(): number { return this.#usedIdx }

  offer(slot: number, chain: Chain): void {
    const head = slot * CHAIN
    this.#descriptor(head, chain.header, chain.headerBytes, NEXT, chain.dataBytes === 0 ? head + 2 : head + 1)
    if (chain.dataBytes > 0) this.#descriptor(head + 1, chain.data, chain.dataBytes, chain.inward ? NEXT | WRITE : NEXT, head + 2)
    this.#descriptor(head + 2, chain.status, 1, WRITE, 0)
    this.#avail[2 + this.#availIdx % this.#size] = head
    this.#availIdx = (this.#availIdx + 1) & 0xffff
    Atomics.store(this.#avail, 1, this.#availIdx)
  }

  #descriptor(index: number, address: number, bytes: number, flags: number, next: number): void {
    const { view } = this.#memory, at = this.descAt + index * DESC_BYTES
    view.setBigUint64(at, BigInt(address), true)
    view.setUint32(at + 8, bytes, true)
    view.setUint16(at + 12, flags, true)
    view.setUint16(at + 14, next, true)
  }

  kickWanted(eventIdx: boolean): boolean {
    const from = this.#kicked
    this.#kicked = this.#availIdx
    if (!eventIdx) return (Atomics.load(this.#used, 0) & 1) === 0
    return ((this.#availIdx - Atomics.load(this.#used, 2 + this.#size * 4) - 1) & 0xffff) < ((this.#availIdx - from) & 0xffff)
  }

  completed(): number {
    if (Atomics.load(this.#used, 1) === this.#usedIdx) return NONE
    const head = this.#memory.view.getUint32(this.usedAt + 4 + (this.#usedIdx % this.#size) * 8, true)
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff
    return head / CHAIN
  }

  arm(eventIdx: boolean): boolean {
    if (eventIdx) Atomics.store(this.#avail, 2 + this.#size, this.#usedIdx)
    return Atomics.load(this.#used, 1) !== this.#usedIdx
  }
}
