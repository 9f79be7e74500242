/**
 * The driver's side of a split ring. Every request has three descriptors of its own (header, data, status), so a ring
 * of n entries takes n/3 requests at a time; what comes beyond that waits here, in order.
 */
import { native, type PollHandle } from 'vhost-user-ts-bindings'
import { EXIT, Failure } from '../core/failure.js'
import { assert } from '../core/assert.js'
import { REQUEST_KIND } from '../ports/guest.js'
import type { SharedMemory } from './memory.js'

const CHAIN = 3
const HEADER_BYTES = 16, RANGE_BYTES = 16, ID_BYTES = 20
/** Header, range and status byte of one request; apart by a cache line. */
const SLOT_BYTES = 64
const SLOT_STATUS = HEADER_BYTES + RANGE_BYTES
const NEXT = 1, WRITE = 2
/** No status that a device writes: one that was never written is seen. */
const UNWRITTEN = 0xff

const TYPE = { ...REQUEST_KIND, getId: 8 } as const
export type ClientKind = keyof typeof TYPE

export interface ClientRequest {
  readonly kind: ClientKind
  readonly lbaSectors: number
  readonly lengthSectors: number
  /** Where in the shared buffer the data is, or goes. */
  readonly bufferOffset: number
  /** Of writeZeroes: the space may be given back. */
  readonly unmap?: boolean
}

interface Pending {
  readonly request: ClientRequest
  readonly resolve: (status: number) => void
  readonly reject: (error: Failure) => void
}

const round = (value: number, to: number): number => Math.ceil(value / to) * to

export class DriverRing {
  readonly size: number
  readonly kickFd = native.eventfd(0)
  readonly callFd = native.eventfd(0)
  /** Byte positions in the shared memory. */
  readonly descAt: number
  readonly availAt: number
  readonly usedAt: number
  readonly #slotsAt: number
  readonly #memory: SharedMemory
  readonly #bufferAt: number
  readonly #avail: Uint16Array
  readonly #used: Uint16Array
  readonly #pending: (Pending | null)[]
  readonly #free: number[] = []
  readonly #waiting: Pending[] = []
  readonly #broken: (why: Failure) => void
  #eventIdx = false
  #availIdx = 0
  #usedIdx = 0
  #kicked = 0
  #kickScheduled = false
  #poll: PollHandle | null = null

  /** Bytes that a ring takes, to be placed at a multiple of 64. */
  static bytes(size: number): number {
    return round(size * 16, 64) + round(6 + size * 2, 64) + round(6 + size * 8, 64) + Math.floor(size / CHAIN) * SLOT_BYTES
  }

  constructor(memory: SharedMemory, at: number, size: number, bufferAt: number, broken: (why: Failure) => void) {
    assert(size >= 4 && (size & (size - 1)) === 0, 'a ring has a power of two entries, four at least')
    this.#memory = memory
    this.size = size
    this.#bufferAt = bufferAt
    this.#broken = broken
    this.descAt = at
    this.availAt = at + round(size * 16, 64)
    this.usedAt = this.availAt + round(6 + size * 2, 64)
    this.#slotsAt = this.usedAt + round(6 + size * 8, 64)
    this.#avail = new Uint16Array(memory.bytes.buffer, this.availAt, 3 + size)
    this.#used = new Uint16Array(memory.bytes.buffer, this.usedAt, 3 + size * 4)
    this.#pending = new Array<Pending | null>(Math.floor(size / CHAIN)).fill(null)
    for (let slot = this.#pending.length - 1; slot >= 0; slot--) this.#free.push(slot)
  }

  /** Requests that the device has. */
  get inFlight(): number { return this.#pending.length - this.#free.length }
  /** Where the device goes on, for SET_VRING_BASE. */
  get usedIdx(): number { return this.#usedIdx }

  /** Listens for completions; what was in flight over an earlier connection still counts. */
  start(eventIdx: boolean): void {
    this.#eventIdx = eventIdx
    this.#poll ??= native.pollStart(this.callFd, 1, () => {
      native.eventfdDrain(this.callFd)
      this.reap()
    })
    this.reap()
    native.eventfdSignal(this.kickFd)
  }

  stop(): void {
    if (this.#poll !== null) native.pollStop(this.#poll)
    this.#poll = null
  }

  /** Ends: nothing may be submitted any more, what is open is rejected. */
  free(why: Failure): void {
    this.stop()
    for (const open of [...this.#pending.splice(0), ...this.#waiting.splice(0)]) open?.reject(why)
    this.#free.length = 0
    native.closeFd(this.kickFd)
    native.closeFd(this.callFd)
  }

  submit(request: ClientRequest): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      this.#fill()
    })
  }

  #fill(): void {
    while (this.#waiting.length > 0 && this.#free.length > 0) this.#place(this.#free.pop()!, this.#waiting.shift()!)
  }

  #place(slot: number, pending: Pending): void {
    const { request } = pending, { view, guestAddress } = this.#memory
    this.#pending[slot] = pending
    const at = this.#slotsAt + slot * SLOT_BYTES, head = slot * CHAIN
    const isRange = request.kind === 'discard' || request.kind === 'writeZeroes', isData = request.kind === 'read' || request.kind === 'write'
    view.setUint32(at, TYPE[request.kind], true)
    view.setUint32(at + 4, 0, true)
    view.setBigUint64(at + 8, BigInt(isData ? request.lbaSectors : 0), true)
    view.setBigUint64(at + HEADER_BYTES, BigInt(request.lbaSectors), true)
    view.setUint32(at + HEADER_BYTES + 8, request.lengthSectors, true)
    view.setUint32(at + HEADER_BYTES + 12, request.unmap === true ? 1 : 0, true)
    view.setUint8(at + SLOT_STATUS, UNWRITTEN)
    const dataBytes = isData ? request.lengthSectors * 512 : isRange ? RANGE_BYTES : request.kind === 'getId' ? ID_BYTES : 0
    const dataAt = isRange ? at + HEADER_BYTES : this.#bufferAt + request.bufferOffset
    this.#descriptor(head, guestAddress + at, HEADER_BYTES, NEXT, dataBytes === 0 ? head + 2 : head + 1)
    const outward = isRange || request.kind === 'write'
    if (dataBytes > 0) this.#descriptor(head + 1, guestAddress + dataAt, dataBytes, outward ? NEXT : NEXT | WRITE, head + 2)
    this.#descriptor(head + 2, guestAddress + at + SLOT_STATUS, 1, WRITE, 0)
    this.#avail[2 + this.#availIdx % this.size] = head
    this.#availIdx = (this.#availIdx + 1) & 0xffff
    Atomics.store(this.#avail, 1, this.#availIdx)
    if (this.#kickScheduled) return
    this.#kickScheduled = true
    queueMicrotask(this.#kick)
  }

  #descriptor(index: number, address: number, bytes: number, flags: number, next: number): void {
    const { view } = this.#memory, at = this.descAt + index * 16
    view.setBigUint64(at, BigInt(address), true)
    view.setUint32(at + 8, bytes, true)
    view.setUint16(at + 12, flags, true)
    view.setUint16(at + 14, next, true)
  }

  /** Once for all requests of a turn, and only when the device asked for it. */
  readonly #kick = (): void => {
    this.#kickScheduled = false
    const from = this.#kicked
    this.#kicked = this.#availIdx
    if (this.#poll === null) return
    const wanted = this.#eventIdx
      ? ((this.#availIdx - Atomics.load(this.#used, 2 + this.size * 4) - 1) & 0xffff) < ((this.#availIdx - from) & 0xffff)
      : (Atomics.load(this.#used, 0) & 1) === 0
    if (wanted) native.eventfdSignal(this.kickFd)
  }

  /** Takes what the device has completed. */
  reap(): void {
    const { view } = this.#memory
    for (;;) {
      const published = Atomics.load(this.#used, 1)
      if (((published - this.#usedIdx) & 0xffff) > this.inFlight) {
        this.#broken(new Failure(EXIT.unreachable, `it completed ${(published - this.#usedIdx) & 0xffff} requests where ${this.inFlight} were open`))
        return
      }
      while (this.#usedIdx !== published) {
        const head = view.getUint32(this.usedAt + 4 + (this.#usedIdx % this.size) * 8, true), slot = head / CHAIN
        const pending = this.#pending[slot]
        if (pending === null || pending === undefined) {
          this.#broken(new Failure(EXIT.unreachable, `it completed descriptor ${head}, which it was not given`))
          return
        }
        this.#usedIdx = (this.#usedIdx + 1) & 0xffff
        this.#pending[slot] = null
        this.#free.push(slot)
        pending.resolve(view.getUint8(this.#slotsAt + slot * SLOT_BYTES + SLOT_STATUS))
      }
      if (this.#eventIdx) Atomics.store(this.#avail, 2 + this.size, this.#usedIdx)
      if (Atomics.load(this.#used, 1) === this.#usedIdx) break
    }
    this.#fill()
  }
}
