/** A ring driven by hand: every descriptor and index is the test's to forge. */
import { native } from 'vhost-user-ts-bindings'
import type { SharedMemory } from '../../lib/client/memory.js'
import { until } from '../../fixtures/lab/workspace.js'

export const NEXT = 1, WRITE = 2, INDIRECT = 4
/** Pages of a ring: descriptors, avail from 0x4000, used from 0x5000, headers from 0x8000, status bytes from 0xf000. */
export const RING_STRIDE = 0x10000
const AT = { avail: 0x4000, used: 0x5000, headers: 0x8000, statuses: 0xf000 } as const
const HEADER_STRIDE = 32
export const STATUS_UNWRITTEN = 0xff

export interface Used { readonly head: number; readonly bytes: number; readonly status: number }

/** A data buffer of a request: where in the shared memory, how long, and whether the device writes it. */
export interface Piece { readonly offset: number; readonly bytes: number; readonly write?: boolean }

export class RawRing {
  readonly index: number
  readonly size: number
  readonly kickFd = native.eventfd(0)
  readonly callFd = native.eventfd(0)
  readonly errFd = native.eventfd(0)
  readonly #memory: SharedMemory
  readonly #at: number
  availIdx = 0
  #seen = 0

  constructor(memory: SharedMemory, index: number, size: number) {
    this.index = index
    this.size = size
    this.#memory = memory
    this.#at = index * RING_STRIDE
  }

  get places(): { desc: number; avail: number; used: number } {
    const from = this.#memory.userAddress + this.#at
    return { desc: from, avail: from + AT.avail, used: from + AT.used }
  }

  get usedGuest(): number { return this.#memory.guestAddress + this.#at + AT.used }
  get usedIdx(): number { return this.#memory.view.getUint16(this.#at + AT.used + 2, true) }
  set usedIdx(value: number) {
    this.#memory.view.setUint16(this.#at + AT.used + 2, value, true)
    this.#seen = value
  }

  /** EVENT_IDX: after which completion the driver wants to be called. */
  set usedEvent(value: number) { this.#memory.view.setUint16(this.#at + AT.avail + 4 + this.size * 2, value, true) }
  /** EVENT_IDX: after which chain the device wants to be kicked. */
  get availEvent(): number { return this.#memory.view.getUint16(this.#at + AT.used + 4 + this.size * 8, true) }
  /** Without EVENT_IDX: the driver does not want to be called. */
  set noInterrupt(on: boolean) { this.#memory.view.setUint16(this.#at + AT.avail, on ? 1 : 0, true) }

  /** Guest address of something at `offset` of the shared memory. */
  guest(offset: number): number { return this.#memory.guestAddress + offset }
  headerAt(head: number): number { return this.#at + AT.headers + head * HEADER_STRIDE }
  statusAt(head: number): number { return this.#at + AT.statuses + head }
  status(head: number): number { return this.#memory.view.getUint8(this.statusAt(head)) }

  /** Writes one descriptor, of the ring or of a table at `tableAt`. */
  descriptor(index: number, address: number | bigint, bytes: number, flags: number, next = 0, tableAt = this.#at): void {
    const { view } = this.#memory, at = tableAt + index * 16
    view.setBigUint64(at, BigInt(address), true)
    view.setUint32(at + 8, bytes, true)
    view.setUint16(at + 12, flags, true)
    view.setUint16(at + 14, next, true)
  }

  header(head: number, type: number, sector: number): void {
    const { view } = this.#memory, at = this.headerAt(head)
    view.setUint32(at, type, true)
    view.setBigUint64(at + 8, BigInt(sector), true)
    view.setUint8(this.statusAt(head), STATUS_UNWRITTEN)
  }

  /** A well-formed chain from descriptor `head` on, not offered yet. */
  build(head: number, type: number, sector: number, pieces: readonly Piece[] = []): void {
    this.header(head, type, sector)
    this.descriptor(head, this.guest(this.headerAt(head)), 16, NEXT, head + 1)
    pieces.forEach((piece, i) => {
      this.descriptor(head + 1 + i, this.guest(piece.offset), piece.bytes, piece.write === true ? NEXT | WRITE : NEXT, head + 2 + i)
    })
    this.descriptor(head + 1 + pieces.length, this.guest(this.statusAt(head)), 1, WRITE)
  }

  /** Puts heads into the available ring; `jump` more than there are makes the index lie. */
  offer(heads: readonly number[], jump = heads.length): void {
    const { view } = this.#memory, at = this.#at + AT.avail
    heads.forEach((head, i) => view.setUint16(at + 4 + ((this.availIdx + i) % this.size) * 2, head, true))
    this.availIdx = (this.availIdx + jump) & 0xffff
    view.setUint16(at + 2, this.availIdx, true)
  }

  kick(): void { native.eventfdSignal(this.kickFd) }

  /** Builds, offers and kicks. */
  request(head: number, type: number, sector: number, pieces: readonly Piece[] = []): void {
    this.build(head, type, sector, pieces)
    this.offer([head])
    this.kick()
  }

  /** What was completed since the last look. */
  takeUsed(): Used[] {
    const found: Used[] = [], { view } = this.#memory
    for (; this.#seen !== this.usedIdx; this.#seen = (this.#seen + 1) & 0xffff) {
      const at = this.#at + AT.used + 4 + (this.#seen % this.size) * 8, head = view.getUint32(at, true)
      found.push({ head, bytes: view.getUint32(at + 4, true), status: this.status(head) })
    }
    return found
  }

  waitUsed(count: number): Promise<Used[]> { return collectUsed(count, () => this.takeUsed()) }

  /** Anew, as a driver that resets its device does. */
  clear(): void {
    this.#memory.bytes.fill(0, this.#at, this.#at + AT.headers)
    this.availIdx = 0
    this.#seen = 0
  }

  free(): void { for (const fd of [this.kickFd, this.callFd, this.errFd]) native.closeFd(fd) }
}

/** `take`: what was completed since the last look. */
export async function collectUsed(count: number, take: () => readonly Used[]): Promise<Used[]> {
  const found: Used[] = []
  await until(`${count} completions`, 3000, () => {
    found.push(...take())
    return found.length >= count
  })
  return found
}
