/** The driver's side of a packed ring: a chain is the next entries of the ring, and its buffer id is the slot. */
import { CHAIN, DESC_BYTES, NEXT, NONE, WRITE, round, type Chain, type RingFormat } from './ring-format.js'
import type { SharedMemory } from './memory.js'

const AVAIL = 1 << 7, USED = 1 << 15
const EVENT_BYTES = 4, EVENT_DISABLE = 1, EVENT_POSITION = 2
const WRAP = 0x8000

export class PackedFormat implements RingFormat {
  readonly descAt: number
  readonly availAt: number
  readonly usedAt: number
  readonly #size: number
  readonly #memory: SharedMemory
  readonly #desc: Uint16Array
  /** {u16 entry and wrap counter, u16 flags}, as one number. */
  readonly #driverEvent: Int32Array
  readonly #deviceEvent: Int32Array
  /** Entries of the chain in a slot. */
  readonly #lengths: Uint8Array
  /** Entries since the beginning, of which the ring shows the last `size`. */
  #offered = 0
  #taken = 0
  #kicked = 0

  static bytes(size: number): number { return round(size * DESC_BYTES, 64) + 64 * 2 }

  constructor(memory: SharedMemory, at: number, size: number) {
    this.#memory = memory
    this.#size = size
    this.descAt = at
    this.availAt = at + round(size * DESC_BYTES, 64)
    this.usedAt = this.availAt + 64
    this.#desc = new Uint16Array(memory.bytes.buffer, at, size * DESC_BYTES / 2)
    this.#driverEvent = new Int32Array(memory.bytes.buffer, this.availAt, EVENT_BYTES / 4)
    this.#deviceEvent = new Int32Array(memory.bytes.buffer, this.usedAt, EVENT_BYTES / 4)
    this.#lengths = new Uint8Array(Math.floor(size / CHAIN))
  }

  get base(): number {
    const word = this.#word(this.#taken)
    return (word | word << 16) >>> 0
  }

  #wrap(count: number): boolean { return Math.floor(count / this.#size) % 2 === 0 }
  #word(count: number): number { return count % this.#size | (this.#wrap(count) ? WRAP : 0) }
  #flagsAt(count: number): number { return count % this.#size * (DESC_BYTES / 2) + 7 }

  offer(slot: number, chain: Chain): void {
    const first = this.#offered, withData = chain.dataBytes > 0
    this.#lengths[slot] = withData ? CHAIN : CHAIN - 1
    this.#entry(first, chain.header, chain.headerBytes, slot)
    if (withData) this.#put(first + 1, chain.data, chain.dataBytes, slot, chain.inward ? NEXT | WRITE : NEXT)
    this.#put(first + (withData ? 2 : 1), chain.status, 1, slot, WRITE)
    // Last: with it the device may look at all of them.
    Atomics.store(this.#desc, this.#flagsAt(first), NEXT | this.#owner(first))
    this.#offered += this.#lengths[slot]!
  }

  #owner(count: number): number { return this.#wrap(count) ? AVAIL : USED }

  #put(count: number, address: number, bytes: number, id: number, flags: number): void {
    this.#entry(count, address, bytes, id)
    this.#desc[this.#flagsAt(count)] = flags | this.#owner(count)
  }

  #entry(count: number, address: number, bytes: number, id: number): void {
    const { view } = this.#memory, at = this.descAt + count % this.#size * DESC_BYTES
    view.setBigUint64(at, BigInt(address), true)
    view.setUint32(at + 8, bytes, true)
    view.setUint16(at + 12, id, true)
  }

  kickWanted(eventIdx: boolean): boolean {
    const offered = this.#offered - this.#kicked
    this.#kicked = this.#offered
    const event = Atomics.load(this.#deviceEvent, 0), flags = event >>> 16 & 3
    if (flags !== EVENT_POSITION || !eventIdx) return flags !== EVENT_DISABLE
    return this.#back(event & 0xffff) < offered
  }

  /** How many entries before the last offered one the entry of an event lies. */
  #back(word: number): number {
    const { wrap, entry } = { wrap: (word & WRAP) !== 0, entry: word & ~WRAP }, now = this.#offered % this.#size
    return now - entry - 1 + (wrap === this.#wrap(this.#offered) ? 0 : this.#size) >>> 0
  }

  completed(): number {
    const flags = Atomics.load(this.#desc, this.#flagsAt(this.#taken)), used = this.#wrap(this.#taken) ? AVAIL | USED : 0
    if (this.#taken === this.#offered || (flags & (AVAIL | USED)) !== used) return NONE
    const slot = this.#memory.view.getUint16(this.descAt + this.#taken % this.#size * DESC_BYTES + 12, true)
    this.#taken += this.#lengths[slot] ?? 1
    return slot
  }

  arm(eventIdx: boolean): boolean {
    if (eventIdx) Atomics.store(this.#driverEvent, 0, this.#word(this.#taken) | EVENT_POSITION << 16)
    if (this.#taken === this.#offered) return false
    const flags = Atomics.load(this.#desc, this.#flagsAt(this.#taken))
    return (flags & (AVAIL | USED)) === (this.#wrap(this.#taken) ? AVAIL | USED : 0)
  }
}
