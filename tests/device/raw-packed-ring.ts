/** A packed ring driven by hand, in the places of a RawRing: every entry, flag and event is the test's to forge. */
import { native } from 'vhost-user-ts-bindings'
import type { SharedMemory } from '../../lib/client/memory.js'
import { NEXT, RING_STRIDE, WRITE, collectUsed, type Piece, type RawRing, type Used } from './raw-ring.js'

export const AVAIL = 1 << 7, USED = 1 << 15
/** Flags of the event areas. */
export const ENABLE = 0, DISABLE = 1, AT_POSITION = 2
const ENTRY = 16, DRIVER_EVENT = 0x4000, DEVICE_EVENT = 0x5000

/** Address, length and flags of a descriptor. */
export type Part = readonly [address: number | bigint, bytes: number, flags: number]

export class RawPackedRing {
  /** For descriptors, headers and status bytes. */
  readonly raw: RawRing
  readonly size: number
  readonly #memory: SharedMemory
  readonly #at: number
  /** Entries that were made available, and seen as used, since the ring was made. */
  offered: number
  seen: number
  readonly #lengths = new Map<number, number>()

  /** `at`: entries that the ring has behind it. */
  constructor(memory: SharedMemory, raw: RawRing, at = 0) {
    this.raw = raw
    this.size = raw.size
    this.#memory = memory
    this.#at = raw.index * RING_STRIDE
    this.offered = at
    this.seen = at
  }

  wrap(count: number): boolean { return Math.floor(count / this.size) % 2 === 0 }
  /** Entry and wrap counter, as bases and events name them. */
  word(count: number): number { return count % this.size | (this.wrap(count) ? 0x8000 : 0) }
  baseOf(avail: number, used = avail): number { return (this.word(avail) | this.word(used) << 16) >>> 0 }
  /** For SET_VRING_BASE of a ring that is not in use. */
  get base(): number { return this.baseOf(this.seen) }
  owner(count: number): number { return this.wrap(count) ? AVAIL : USED }

  entryAt(count: number): number { return this.#at + count % this.size * ENTRY }
  flags(count: number): number { return this.#memory.view.getUint16(this.entryAt(count) + 14, true) }
  setFlags(count: number, flags: number): void { this.#memory.view.setUint16(this.entryAt(count) + 14, flags, true) }
  isUsed(count: number): boolean { return (this.flags(count) & (AVAIL | USED)) === (this.wrap(count) ? AVAIL | USED : 0) }

  /** Writes one descriptor, of the ring or of a table, with exactly these flags. */
  descriptor(at: number, address: number | bigint, bytes: number, id: number, flags: number): void {
    const { view } = this.#memory
    view.setBigUint64(at, BigInt(address), true)
    view.setUint32(at + 8, bytes, true)
    view.setUint16(at + 12, id, true)
    view.setUint16(at + 14, flags, true)
  }

  /** The driver's event area: when it wants to be called. */
  setDriverEvent(flags: number, word = 0): void {
    this.#memory.view.setUint16(this.#at + DRIVER_EVENT, word, true)
    this.#memory.view.setUint16(this.#at + DRIVER_EVENT + 2, flags, true)
  }

  /** The device's: when it wants to be kicked. */
  get deviceEvent(): { flags: number; word: number } {
    const { view } = this.#memory, at = this.#at + DEVICE_EVENT
    return { flags: view.getUint16(at + 2, true), word: view.getUint16(at, true) }
  }

  set deviceEventFlags(flags: number) { this.#memory.view.setUint16(this.#at + DEVICE_EVENT + 2, flags, true) }

  /** A table of descriptors outside the ring. */
  table(offset: number, parts: readonly Part[]): void {
    parts.forEach(([address, bytes, flags], i) => this.descriptor(offset + i * ENTRY, address, bytes, 0, flags))
  }

  /** Makes a chain of these parts available, NEXT added between them. */
  offer(id: number, parts: readonly Part[]): void {
    parts.forEach(([address, bytes, flags], i) => {
      const at = this.offered + i, next = i < parts.length - 1 ? NEXT : 0
      this.descriptor(this.entryAt(at), address, bytes, id, flags | next | this.owner(at))
    })
    this.#lengths.set(id, parts.length)
    this.offered += parts.length
  }

  parts(id: number, type: number, sector: number, pieces: readonly Piece[] = []): Part[] {
    const { raw } = this
    raw.header(id, type, sector)
    return [
      [raw.guest(raw.headerAt(id)), 16, 0], ...pieces.map((piece): Part => [raw.guest(piece.offset), piece.bytes, piece.write === true ? WRITE : 0]),
      [raw.guest(raw.statusAt(id)), 1, WRITE],
    ]
  }

  /** Well formed and available, not kicked yet. */
  build(id: number, type: number, sector: number, pieces: readonly Piece[] = []): void { this.offer(id, this.parts(id, type, sector, pieces)) }

  request(id: number, type: number, sector: number, pieces: readonly Piece[] = []): void {
    this.build(id, type, sector, pieces)
    this.kick()
  }

  kick(): void { native.eventfdSignal(this.raw.kickFd) }

  /** What was completed since the last look, as a driver finds it. */
  takeUsed(): Used[] {
    const found: Used[] = [], { view } = this.#memory
    while (this.isUsed(this.seen)) {
      const at = this.entryAt(this.seen), head = view.getUint16(at + 12, true), length = this.#lengths.get(head)
      if (length === undefined) throw new Error(`buffer ${head} came back and was not given`)
      found.push({ head, bytes: view.getUint32(at + 8, true), status: this.raw.status(head) })
      this.#lengths.delete(head)
      this.seen += length
    }
    return found
  }

  waitUsed(count: number): Promise<Used[]> { return collectUsed(count, () => this.takeUsed()) }

  /** Anew, as a driver that resets its device does. */
  clear(): void {
    this.#memory.bytes.fill(0, this.#at, this.#at + DEVICE_EVENT + 4)
    this.offered = 0
    this.seen = 0
    this.#lengths.clear()
  }
}
