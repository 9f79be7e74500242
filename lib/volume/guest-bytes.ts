/** Moving bytes between a request's scattered guest buffers and contiguous memory of ours, in one native call. */
import { GATHER_CELLS, native } from 'vhost-user-ts-bindings'
import { assert } from '../core/assert.js'
import { BLOCK_BYTES } from '../core/units.js'
import { limits } from '../limits.js'
import type { GuestRequest } from '../ports/guest.js'

/** Reusable list of copies. */
export class CopyTable {
  readonly table = new Float64Array(GATHER_CELLS * (limits.chainDescriptorsMax * 2 + limits.recordEntriesMax + limits.readBytesMax / BLOCK_BYTES))
  count = 0

  reset(): void { this.count = 0 }

  push(source: number, target: number, lengthBytes: number): void {
    const at = this.count * GATHER_CELLS
    assert(at < this.table.length, 'copy table has room')
    this.table[at] = source
    this.table[at + 1] = target
    this.table[at + 2] = lengthBytes
    this.count++
  }

  get capacity(): number { return this.table.length / GATHER_CELLS }

  crcOf(entry: number): number { return this.table[entry * GATHER_CELLS + 3]! }

  copy(): void {
    if (this.count > 0) native.copy(this.table, this.count)
    this.count = 0
  }

  gather(): void { if (this.count > 0) native.gather(this.table, this.count) }
}

/**
 * Lists the copies of bytes [from, from + length) of the request's data to contiguous memory at `target`. No copy
 * crosses a block of the target, so that a block which is one copy has its sum from it.
 */
export function copyFromGuest(table: CopyTable, request: GuestRequest, fromBytes: number, lengthBytes: number, target: number): void {
  walk(table, request, fromBytes, lengthBytes, target, true)
}

/** Lists the copies from contiguous memory at `source` into bytes [from, from + length) of the request's data. */
export function copyToGuest(table: CopyTable, request: GuestRequest, fromBytes: number, lengthBytes: number, source: number): void {
  walk(table, request, fromBytes, lengthBytes, source, false)
}

function walk(table: CopyTable, request: GuestRequest, fromBytes: number, lengthBytes: number, memory: number, fromGuest: boolean): void {
  let skip = fromBytes, done = 0
  for (let i = 0; i < request.segmentCount && done < lengthBytes; i++) {
    const size = request.segmentBytes[i]!
    if (skip >= size) { skip -= size; continue }
    const take = Math.min(size - skip, lengthBytes - done)
    const address = request.segmentAddress[i]! + skip
    if (fromGuest) pushBlocks(table, address, memory + done, take)
    else table.push(memory + done, address, take)
    done += take
    skip = 0
  }
  assert(done === lengthBytes, 'the guest buffers cover the request')
}

function pushBlocks(table: CopyTable, source: number, target: number, lengthBytes: number): void {
  for (let done = 0; done < lengthBytes;) {
    const take = Math.min(BLOCK_BYTES - ((target + done) % BLOCK_BYTES), lengthBytes - done)
    table.push(source + done, target + done, take)
    done += take
  }
}

/** Are these bytes one or more whole pieces of guest memory, each fit for O_DIRECT? */
export function alignedInGuest(request: GuestRequest, fromBytes: number, lengthBytes: number, alignmentBytes: number): boolean {
  let skip = fromBytes, done = 0
  for (let i = 0; i < request.segmentCount && done < lengthBytes; i++) {
    const size = request.segmentBytes[i]!
    if (skip >= size) { skip -= size; continue }
    const take = Math.min(size - skip, lengthBytes - done)
    if ((request.segmentAddress[i]! + skip) % alignmentBytes !== 0 || take % alignmentBytes !== 0) return false
    done += take
    skip = 0
  }
  return done === lengthBytes
}

/** Every block of the bytes, which are whole blocks of guest memory, until `visit` returns false; what it returned last. */
export function eachBlockInGuest(request: GuestRequest, fromBytes: number, lengthBytes: number, visit: (address: number, block: number) => boolean): boolean {
  let skip = fromBytes, done = 0
  for (let i = 0; i < request.segmentCount && done < lengthBytes; i++) {
    const size = request.segmentBytes[i]!
    if (skip >= size) { skip -= size; continue }
    for (let at = skip; at < size && done < lengthBytes; at += BLOCK_BYTES, done += BLOCK_BYTES) {
      if (!visit(request.segmentAddress[i]! + at, done / BLOCK_BYTES)) return false
    }
    skip = 0
  }
  return true
}
