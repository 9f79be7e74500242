/** One virtio-blk request, pooled: parsed from a descriptor chain that the guest may change or forge at any moment. */
import { native } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import { REQUEST_KIND, type GuestRequest, type RequestKind, type Status } from '../ports/guest.js'
import { DESC, DESC_FLAG, type ChainSource } from './chain-source.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'
import { NOT_TIMED } from './queue-times.js'

const TWO_32 = 0x1_0000_0000
const GET_ID = 8
const HEADER = 16
const ID_BYTES = 20
const PIECES_MAX = limits.chainDescriptorsMax * 2

// Pieces of guest memory of the chain that is being parsed, in order, the readable ones first. One set for all
// requests: a parse and the answer to GET_ID that follows it run to their end.
const pieceAddress = new Float64Array(PIECES_MAX)
const pieceGuest = new Float64Array(PIECES_MAX)
const pieceBytes = new Float64Array(PIECES_MAX)
const copyCells = new Float64Array(4)

/** What parsing found. `broken`: the queue cannot be trusted any more; the others are answers for this request alone. */
export type Parsed = 'io' | 'getId' | 'badAddress' | 'ioError' | 'unsupported' | { readonly broken: string }

export interface RequestOwner {
  finish(request: BlkRequest, status: Status): void
}

export class BlkRequest implements GuestRequest {
  kind: RequestKind = REQUEST_KIND.read
  lbaSectors = 0
  lengthSectors = 0
  segmentCount = 0
  segmentAddress = new Float64Array(64)
  segmentBytes = new Uint32Array(64)
  /** Guest addresses of the segments, for the dirty log. */
  segmentGuest = new Float64Array(64)
  unmap = false
  dead = false
  head = 0
  /** When it was found in the ring, where that is measured. */
  sinceMs = NOT_TIMED
  table: MemoryTable | null = null
  owner: RequestOwner | null = null
  /** Bytes of guest memory written, status included. */
  writtenBytes = 0
  #statusAddress = 0
  #statusGuest = 0

  #pieces = 0
  #readable = 0

  complete(status: Status): void { this.owner!.finish(this, status) }

  /** Reads each descriptor and the header once (H56, H57) and fills the request. */
  parse(chain: ChainSource, head: number, table: MemoryTable, scratch: RequestScratch): Parsed {
    this.head = head
    this.dead = false
    this.sinceMs = NOT_TIMED
    this.writtenBytes = 1
    this.segmentCount = 0
    const walked = this.#walk(chain, table)
    if (walked !== null && walked !== 'badAddress') return { broken: walked }
    if (this.#pieces === this.#readable) return { broken: 'a chain without a place for its status' }
    const readableBytes = this.#bytes(0, this.#readable), writableBytes = this.#bytes(this.#readable, this.#pieces)
    if (readableBytes < HEADER) return { broken: `a header of ${readableBytes} bytes` }
    this.#takeStatus()
    if (walked === 'badAddress') return 'badAddress'
    const header = scratch.header
    this.#copyOut(0, HEADER, scratch.address)
    const type = header.getUint32(0, true)
    const sector = header.getUint32(8, true) + header.getUint32(12, true) * TWO_32
    return this.#fill(type, sector, readableBytes - HEADER, writableBytes - 1, scratch)
  }

  // --- the chain ---------------------------------------------------------------------------------------------------------------

  /** Null: good. 'badAddress': well formed, but some buffer is outside the shared memory. Else why the chain is broken. */
  #walk(chain: ChainSource, table: MemoryTable): string | 'badAddress' | null {
    this.#pieces = 0
    this.#readable = 0
    const { packed } = chain, flagsAt = packed ? DESC.packedFlags : DESC.splitFlags
    let { view, at, limit, first: index } = chain, indirect = false, bad = false
    if (index >= limit) return `descriptor ${index} of ${limit}`
    for (let count = 0; ; count++) {
      if (count >= limit || count >= limits.chainDescriptorsMax) return 'a chain that loops or is too long'
      const d = at + index * DESC.bytes
      const address = view.getUint32(d, true) + view.getUint32(d + 4, true) * TWO_32
      const length = view.getUint32(d + DESC.length, true), flags = view.getUint16(d + flagsAt, true)
      // A packed chain is a run: its entries follow each other, and so do those of its tables, whatever NEXT says there.
      const next = packed ? index + 1 : view.getUint16(d + DESC.splitNext, true)
      const more = packed ? next < limit : (flags & DESC_FLAG.next) !== 0
      if ((flags & DESC_FLAG.indirect) !== 0) {
        if (indirect || more) return 'an indirect descriptor where none may be'
        if (length === 0 || length % DESC.bytes !== 0 || length / DESC.bytes > limits.chainDescriptorsMax) return `an indirect table of ${length} bytes`
        if (!table.find(address) || table.foundBytes < length) return 'an indirect table outside the shared memory'
        const region = table.foundRegion!, offset = address - region.spec.guestAddress
        view = region.window(offset)
        at = offset % limits.memoryWindowBytes
        limit = length / DESC.bytes
        index = 0
        indirect = true
        count = -1
        continue
      }
      const problem = this.#addBuffer(table, address, length, (flags & DESC_FLAG.write) !== 0)
      if (problem === 'badAddress') bad = true
      else if (problem !== null) return problem
      if (!more) return bad ? 'badAddress' : null
      if (next >= limit) return `descriptor ${next} of ${limit}`
      index = next
    }
  }

  #addBuffer(table: MemoryTable, address: number, length: number, writable: boolean): string | 'badAddress' | null {
    if (!writable && this.#pieces > this.#readable) return 'a readable buffer after a writable one'
    let bad = false
    for (let done = 0; done < length;) {
      if (this.#pieces === PIECES_MAX) return 'a chain in too many pieces'
      let bytes = length - done
      if (table.find(address + done)) {
        bytes = Math.min(bytes, table.foundBytes)
        pieceAddress[this.#pieces] = table.foundAddress
      } else {
        pieceAddress[this.#pieces] = 0
        bad = true
      }
      pieceGuest[this.#pieces] = address + done
      pieceBytes[this.#pieces] = bytes
      this.#pieces++
      if (!writable) this.#readable = this.#pieces
      done += bytes
    }
    return bad ? 'badAddress' : null
  }

  #bytes(from: number, to: number): number {
    let bytes = 0
    for (let i = from; i < to; i++) bytes += pieceBytes[i]!
    return bytes
  }

  /** The last writable byte is the status, wherever the driver put its borders. */
  #takeStatus(): void {
    const last = this.#pieces - 1
    const bytes = pieceBytes[last]!
    this.#statusAddress = pieceAddress[last]! === 0 ? 0 : pieceAddress[last]! + bytes - 1
    this.#statusGuest = pieceGuest[last]! + bytes - 1
    pieceBytes[last] = bytes - 1
    if (bytes === 1) this.#pieces--
  }

  /** Copies bytes [from, from + length) of the readable part to our memory. */
  #copyOut(from: number, length: number, target: number): void {
    let skip = from, done = 0
    for (let i = 0; i < this.#readable && done < length; i++) {
      const bytes = pieceBytes[i]!
      if (skip >= bytes) { skip -= bytes; continue }
      const take = Math.min(bytes - skip, length - done)
      copyCells[0] = pieceAddress[i]! + skip
      copyCells[1] = target + done
      copyCells[2] = take
      native.copy(copyCells, 1)
      done += take
      skip = 0
    }
  }

  // --- the request -----------------------------------------------------------------------------------------------------------------

  #fill(type: number, sector: number, outBytes: number, inBytes: number, scratch: RequestScratch): Parsed {
    switch (type) {
      case REQUEST_KIND.read: return this.#data(REQUEST_KIND.read, sector, inBytes, this.#readable, this.#pieces, 0, scratch)
      case REQUEST_KIND.write: return this.#data(REQUEST_KIND.write, sector, outBytes, 0, this.#readable, HEADER, scratch)
      case REQUEST_KIND.flush:
        this.kind = REQUEST_KIND.flush
        this.lbaSectors = 0
        this.lengthSectors = 0
        return 'io'
      case REQUEST_KIND.discard: case REQUEST_KIND.writeZeroes: return this.#range(type, outBytes, scratch)
      case GET_ID: return inBytes >= 1 ? 'getId' : 'ioError'
      default: return 'unsupported'
    }
  }

  #data(kind: RequestKind, sector: number, bytes: number, from: number, to: number, skipBytes: number, scratch: RequestScratch): Parsed {
    if (bytes === 0 || bytes % 512 !== 0 || bytes > limits.requestBytesMax) return 'ioError'
    if (!(sector + bytes / 512 <= scratch.capacitySectors)) return 'ioError'
    this.kind = kind
    this.lbaSectors = sector
    this.lengthSectors = bytes / 512
    if (kind === REQUEST_KIND.read) this.writtenBytes = bytes + 1
    let skip = skipBytes
    for (let i = from; i < to; i++) {
      const size = pieceBytes[i]!
      if (skip >= size) { skip -= size; continue }
      this.#segment(pieceAddress[i]! + skip, pieceGuest[i]! + skip, size - skip)
      skip = 0
    }
    return 'io'
  }

  #segment(address: number, guest: number, bytes: number): void {
    if (this.segmentCount === this.segmentBytes.length) {
      const size = this.segmentCount * 2
      const addresses = new Float64Array(size), guests = new Float64Array(size), lengths = new Uint32Array(size)
      addresses.set(this.segmentAddress)
      guests.set(this.segmentGuest)
      lengths.set(this.segmentBytes)
      this.segmentAddress = addresses
      this.segmentGuest = guests
      this.segmentBytes = lengths
    }
    this.segmentAddress[this.segmentCount] = address
    this.segmentGuest[this.segmentCount] = guest
    this.segmentBytes[this.segmentCount] = bytes
    this.segmentCount++
  }

  /** One segment {u64 sector, u32 sectors, u32 flags}: what our config says is the most we take. */
  #range(kind: RequestKind, outBytes: number, scratch: RequestScratch): Parsed {
    if (outBytes !== 16) return outBytes > 16 ? 'unsupported' : 'ioError'
    this.#copyOut(HEADER, 16, scratch.address)
    const h = scratch.header
    const sector = h.getUint32(0, true) + h.getUint32(4, true) * TWO_32, sectors = h.getUint32(8, true), flags = h.getUint32(12, true)
    if ((flags & ~1) !== 0 || (kind === REQUEST_KIND.discard && flags !== 0)) return 'unsupported'
    if (sectors === 0 || sectors > limits.discardSectorsMax || !(sector + sectors <= scratch.capacitySectors)) return 'ioError'
    this.kind = kind
    this.lbaSectors = sector
    this.lengthSectors = sectors
    this.unmap = kind === REQUEST_KIND.discard || flags === 1
    return 'io'
  }

  /** GET_ID: the serial, zero padded, to the writable part. */
  putId(id: Uint8Array, scratch: RequestScratch): void {
    scratch.bytes.fill(0, 0, ID_BYTES)
    scratch.bytes.set(id.subarray(0, ID_BYTES))
    let done = 0
    for (let i = this.#readable; i < this.#pieces && done < ID_BYTES; i++) {
      const take = Math.min(pieceBytes[i]!, ID_BYTES - done)
      copyCells[0] = scratch.address + done
      copyCells[1] = pieceAddress[i]!
      copyCells[2] = take
      native.copy(copyCells, 1)
      this.#segment(pieceAddress[i]!, pieceGuest[i]!, take)
      done += take
    }
    this.kind = REQUEST_KIND.read
    this.writtenBytes = done + 1
  }

  /** Writes the status byte and marks what was written; false when the status has no place. */
  putStatus(status: Status, scratch: RequestScratch, log: DirtyLog | null): boolean {
    if (this.#statusAddress === 0) return false
    scratch.bytes[32] = status
    copyCells[0] = scratch.address + 32
    copyCells[1] = this.#statusAddress
    copyCells[2] = 1
    native.copy(copyCells, 1)
    if (log === null) return true
    log.mark(this.#statusGuest, 1)
    if (this.kind === REQUEST_KIND.read) for (let i = 0; i < this.segmentCount; i++) log.mark(this.segmentGuest[i]!, this.segmentBytes[i]!)
    return true
  }
}

/** Our memory for headers and small answers; one for a session. */
export interface RequestScratch {
  readonly address: number
  readonly bytes: Uint8Array
  readonly header: DataView
  readonly capacitySectors: number
}

