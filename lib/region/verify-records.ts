/** Records read back whole from the region and checked, headers and data: rot must not get from here to anywhere else. */
import { verifyPayload, type RecordHeader } from '../core/record.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'
import type { RegionFile } from './walk.js'

/** So little at a time that a guest's commit does not wait behind it; a larger record is read in one piece. */
const CHUNK_BYTES = 128 * 1024
const LARGEST_BYTES = limits.recordHeaderBytes + limits.recordPayloadBytesMax

export interface RecordRun {
  /** Where the records lie, without gaps; bytes from the start of the region. */
  readonly fromBytes: number
  readonly toBytes: number
  readonly count: number
}

/** `headerOf`: judges the i-th header of the run, which is at this place; throws when it is not the one that must be there. */
export async function verifyRun(
  file: RegionFile, run: RecordRun, headerOf: (i: number, bytes: Uint8Array, offsetBytes: number) => RecordHeader, rotten: (i: number, offsetBytes: number) => Error,
): Promise<void> {
  let memory = new AlignedMemory(CHUNK_BYTES), at = run.fromBytes
  try {
    for (let i = 0; i < run.count;) {
      const length = Math.min(memory.lengthBytes, run.toBytes - at), start = at, first = i
      await operation((target) => file.read(memory.address, length, start, target, 0))
      for (; i < run.count && at + limits.recordHeaderBytes <= start + length; i++) {
        const header = headerOf(i, memory.bytes.subarray(at - start, at - start + limits.recordHeaderBytes), at)
        if (at + header.lengthBytes > start + length) break
        if (!verifyPayload(memory.bytes.subarray(at - start, at - start + header.lengthBytes), header, crc)) throw rotten(i, at)
        at += header.lengthBytes
      }
      if (i > first || memory.lengthBytes === LARGEST_BYTES) continue
      memory.free()
      memory = new AlignedMemory(LARGEST_BYTES)
    }
  } finally {
    memory.free()
  }
}
