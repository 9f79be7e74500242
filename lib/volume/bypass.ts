/** A volume without a cache: straight between guest memory and the backing. `policy` says bypass wherever it is shown. */
import { STATUS, REQUEST_KIND, type FrontEnd, type Geometry, type GuestRequest, type GuestVolume, type Status } from '../ports/guest.js'
import type { Backing, CompletionTarget } from '../ports/io.js'
import { AlignedMemory } from '../io/memory.js'
import { roundDown, roundUp } from '../core/units.js'
import { limits } from '../limits.js'
import { CopyTable, copyFromGuest, copyToGuest } from './guest-bytes.js'

interface Slot { request: GuestRequest | null; operations: number; failed: boolean; bounce: AlignedMemory | null; headBytes: number }

export class BypassVolume implements GuestVolume, CompletionTarget {
  readonly geometry: Geometry
  readonly #backing: Backing
  readonly #copies = new CopyTable()
  readonly #slots: Slot[] = []
  readonly #free: number[] = []
  readonly #frontEnds = new Set<FrontEnd>()
  /** Requests at the backing. */
  outstanding = 0
  #operations = 0
  #bytes = 0
  #refused = false
  #durable: boolean

  constructor(backing: Backing, geometry: Geometry) {
    this.#backing = backing
    this.geometry = geometry
    this.#durable = !geometry.writeCache
  }

  activate(frontEnd: FrontEnd): void {
    this.#frontEnds.add(frontEnd)
    frontEnd.onOwned()
  }

  deactivate(frontEnd: FrontEnd): void { this.#frontEnds.delete(frontEnd) }

  admit(request: GuestRequest): boolean {
    const operations = this.#operations + Math.max(1, request.segmentCount), bytes = this.#bytes + bytesOf(request)
    this.#refused = this.outstanding > 0 && (operations > limits.bypassOperationsMax || bytes > limits.pendingBytesMax)
    return !this.#refused
  }

  endBatch(): void {}
  setWriteCache(on: boolean): void { this.#durable = !on || !this.geometry.writeCache }

  submit(request: GuestRequest): void {
    this.outstanding++
    this.#operations += Math.max(1, request.segmentCount)
    this.#bytes += bytesOf(request)
    const token = this.#free.pop() ?? this.#slots.push({ request: null, operations: 0, failed: false, bounce: null, headBytes: 0 }) - 1
    const slot = this.#slots[token]!
    slot.request = request
    slot.failed = false
    slot.operations = 1
    const offset = request.lbaSectors * 512, length = request.lengthSectors * 512
    switch (request.kind) {
      case REQUEST_KIND.flush: this.#backing.flush(this, token); break
      case REQUEST_KIND.discard: case REQUEST_KIND.writeZeroes: this.#zero(request, offset, length, token); break
      default: this.#data(request, slot, token, offset, length)
    }
  }

  /** A zeroing cannot be made durable by itself, as a write can: a flush follows. */
  #zero(request: GuestRequest, offset: number, length: number, token: number): void {
    const target = !this.#durable ? this : { complete: (_token: number, result: number) => {
      if (result < 0) this.complete(token, result)
      else this.#backing.flush(this, token)
    } }
    this.#backing.zero(offset, length, request.unmap, target, token)
  }

  #data(request: GuestRequest, slot: Slot, token: number, offset: number, length: number): void {
    const backing = this.#backing, align = backing.alignmentBytes
    let aligned = offset % align === 0
    for (let i = 0; i < request.segmentCount; i++) aligned &&= request.segmentAddress[i]! % align === 0 && request.segmentBytes[i]! % align === 0
    if (!aligned) { this.#bounced(request, slot, token, offset, length); return }
    slot.operations = request.segmentCount
    for (let i = 0, at = offset; i < request.segmentCount; i++) {
      const bytes = request.segmentBytes[i]!
      if (request.kind === REQUEST_KIND.read) backing.read(request.segmentAddress[i]!, bytes, at, this, token)
      else backing.write(request.segmentAddress[i]!, bytes, at, this.#durable, this, token)
      at += bytes
    }
  }

  #bounced(request: GuestRequest, slot: Slot, token: number, offset: number, length: number): void {
    const align = this.#backing.alignmentBytes
    const from = roundDown(offset, align), to = roundUp(offset + length, align)
    const bounce = new AlignedMemory(to - from)
    slot.bounce = bounce
    slot.headBytes = offset - from
    if (request.kind === REQUEST_KIND.read) { this.#backing.read(bounce.address, to - from, from, this, token); return }
    this.#copies.reset()
    copyFromGuest(this.#copies, request, 0, length, bounce.address + slot.headBytes)
    this.#copies.copy()
    this.#backing.write(bounce.address + slot.headBytes, length, offset, this.#durable, this, token)
  }

  complete(token: number, result: number): void {
    const slot = this.#slots[token]!
    if (result < 0) slot.failed = true
    if (--slot.operations > 0) return
    const request = slot.request!, bounce = slot.bounce
    slot.request = null
    slot.bounce = null
    this.#free.push(token)
    if (bounce !== null) {
      if (request.kind === REQUEST_KIND.read && !slot.failed && !request.dead) {
        this.#copies.reset()
        copyToGuest(this.#copies, request, 0, request.lengthSectors * 512, bounce.address + slot.headBytes)
        this.#copies.copy()
      }
      bounce.free()
    }
    this.outstanding--
    this.#operations -= Math.max(1, request.segmentCount)
    this.#bytes -= bytesOf(request)
    const status: Status = slot.failed ? STATUS.ioError : STATUS.ok
    request.complete(status)
    if (!this.#refused) return
    this.#refused = false
    for (const frontEnd of this.#frontEnds) frontEnd.onRoom()
  }
}

/** Memory that a request may need here: a zeroing needs none, however long it is. */
const bytesOf = (request: GuestRequest): number =>
  request.kind === REQUEST_KIND.read || request.kind === REQUEST_KIND.write ? request.lengthSectors * 512 : 0
