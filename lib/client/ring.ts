/**
 * The driver's side of a ring: requests, and the memory for their headers and status bytes. Every request has up to three
 * descriptors (header, data, status), so a ring of n entries takes n/3 requests at a time; what comes beyond that waits
 * here, in order.
 */
import { native, type PollHandle } from 'vhost-user-ts-bindings'
import { EXIT, Failure } from '../core/failure.js'
import { assert } from '../core/assert.js'
import { REQUEST_KIND } from '../ports/guest.js'
import type { SharedMemory } from './memory.js'
import { PackedFormat } from './packed-format.js'
import { CHAIN, NONE, type Chain, type RingFormat } from './ring-format.js'
import { SplitFormat } from './split-format.js'

const HEADER_BYTES = 16, RANGE_BYTES = 16, ID_BYTES = 20
/** Header, range and status byte of one request; apart by a cache line. */
const SLOT_BYTES = 64
const SLOT_STATUS = HEADER_BYTES + RANGE_BYTES
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

export class DriverRing {
  readonly size: number
  readonly kickFd = native.eventfd(0)
  readonly callFd = native.eventfd(0)
  readonly format: RingFormat
  readonly #slotsAt: number
  readonly #memory: SharedMemory
  readonly #bufferAt: number
  readonly #chain: Chain = { header: 0, headerBytes: HEADER_BYTES, data: 0, dataBytes: 0, inward: false, status: 0 }
  readonly #pending: (Pending | null)[]
  readonly #free: number[] = []
  readonly #waiting: Pending[] = []
  readonly #broken: (why: Failure) => void
  #eventIdx = false
  #kickScheduled = false
  #poll: PollHandle | null = null

  /** Bytes that a ring takes, to be placed at a multiple of 64. */
  static bytes(size: number, packed: boolean): number {
    return (packed ? PackedFormat.bytes(size) : SplitFormat.bytes(size)) + Math.floor(size / CHAIN) * SLOT_BYTES
  }

  constructor(memory: SharedMemory, at: number, size: number, packed: boolean, bufferAt: number, broken: (why: Failure) => void) {
    assert(size >= 4 && (size & (size - 1)) === 0, 'a ring has a power of two entries, four at least')
    this.#memory = memory
    this.size = size
    this.#bufferAt = bufferAt
    this.#broken = broken
    this.format = packed ? new PackedFormat(memory, at, size) : new SplitFormat(memory, at, size)
    this.#slotsAt = at + (packed ? PackedFormat.bytes(size) : SplitFormat.bytes(size))
    this.#pending = new Array<Pending | null>(Math.floor(size / CHAIN)).fill(null)
    for (let slot = this.#pending.length - 1; slot >= 0; slot--) this.#free.push(slot)
  }

  /** Requests that the device has. */
  get inFlight(): number { return this.#pending.length - this.#free.length }
  /** Byte positions in the shared memory. */
  get descAt(): number { return this.format.descAt }
  get availAt(): number { return this.format.availAt }
  get usedAt(): number { return this.format.usedAt }

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
    const at = this.#slotsAt + slot * SLOT_BYTES
    const isRange = request.kind === 'discard' || request.kind === 'writeZeroes', isData = request.kind === 'read' || request.kind === 'write'
    view.setUint32(at, TYPE[request.kind], true)
    view.setUint32(at + 4, 0, true)
    view.setBigUint64(at + 8, BigInt(isData ? request.lbaSectors : 0), true)
    view.setBigUint64(at + HEADER_BYTES, BigInt(request.lbaSectors), true)
    view.setUint32(at + HEADER_BYTES + 8, request.lengthSectors, true)
    view.setUint32(at + HEADER_BYTES + 12, request.unmap === true ? 1 : 0, true)
    view.setUint8(at + SLOT_STATUS, UNWRITTEN)
    const chain = this.#chain
    chain.header = guestAddress + at
    chain.data = guestAddress + (isRange ? at + HEADER_BYTES : this.#bufferAt + request.bufferOffset)
    chain.dataBytes = isData ? request.lengthSectors * 512 : isRange ? RANGE_BYTES : request.kind === 'getId' ? ID_BYTES : 0
    chain.inward = !isRange && request.kind !== 'write'
    chain.status = guestAddress + at + SLOT_STATUS
    this.format.offer(slot, chain)
    if (this.#kickScheduled) return
    this.#kickScheduled = true
    queueMicrotask(this.#kick)
  }

  /** Once for all requests of a turn, and only when the device asked for it. */
  readonly #kick = (): void => {
    this.#kickScheduled = false
    // Nobody is there, and the memory may be gone; the next start kicks.
    if (this.#poll !== null && this.format.kickWanted(this.#eventIdx)) native.eventfdSignal(this.kickFd)
  }

  /** Takes what the device has completed. */
  reap(): void {
    const { view } = this.#memory
    do {
      for (let slot = this.format.completed(); slot !== NONE; slot = this.format.completed()) {
        const pending = this.#pending[slot]
        if (pending === null || pending === undefined) {
          this.#broken(new Failure(EXIT.unreachable, `it completed request ${slot}, which it was not given`))
          return
        }
        this.#pending[slot] = null
        this.#free.push(slot)
        pending.resolve(view.getUint8(this.#slotsAt + slot * SLOT_BYTES + SLOT_STATUS))
      }
    } while (this.format.arm(this.#eventIdx))
    this.#fill()
  }
}
