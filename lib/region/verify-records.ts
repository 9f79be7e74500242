/** Records read back whole from the region and checked, headers and data: rot must not get from here to anywhere else. */
import { EXIT, Failure } from '../core/failure.js'
import { verifyPayload, type RecordHeader } from '../core/record.js'
import type { Won } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'
import type { RecordVisitor } from '../ports/region.js'
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

/** A record that was good and is not any more, for those who go on behind it; the message is for those who stop, `fact` without the advice. */
export class RecordDamage extends Failure {
  readonly record: Won
  readonly offsetBytes: number
  readonly what: string
  readonly fact: string
  constructor(record: Won, offsetBytes: number, what: string, fact: string) {
    super(EXIT.damaged, `${fact}; keep the region as it is, stop this daemon and take the volume over on another holder`)
    this.fact = fact
    this.record = record
    this.offsetBytes = offsetBytes
    this.what = what
  }
}

/**
 * `headerOf`: judges the i-th header of the run, which is at this place; throws when it is not the one that must be there.
 * `checked` hears of each good record, once and in order, and where it is in memory; both are good during the call only,
 * and what it throws ends the run.
 */
export async function verifyRun(
  file: RegionFile, run: RecordRun, headerOf: (i: number, bytes: Uint8Array, offsetBytes: number) => RecordHeader, rotten: (i: number, offsetBytes: number) => Error,
  checked?: RecordVisitor,
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
        checked?.(header, at, memory.address + at - start)
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
