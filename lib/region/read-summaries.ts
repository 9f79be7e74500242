/** Reading summaries: the ends of many segments at once, and the whole of one that is longer. */
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { segmentOffset, type SegmentHeader } from './layout.js'
import { decodeSummary, summaryLength, type SummaryFields } from './summary.js'
import type { RegionFile } from './walk.js'

/** Enough for a default segment full of 4 KiB writes. */
const TAIL = 64 * 1024

/** Calls `visit` for each segment in order, with its summary or null; `bytes` is good during the call only. */
export async function eachSummary(
  file: RegionFile, headers: readonly SegmentHeader[], segmentBytes: number, visit: (i: number, fields: SummaryFields | null, bytes: Uint8Array) => void,
): Promise<void> {
  const memory = new AlignedMemory(TAIL * limits.summaryReadsMax)
  try {
    for (let first = 0; first < headers.length; first += limits.summaryReadsMax) {
      const batch = headers.slice(first, first + limits.summaryReadsMax)
      await allEnded(batch.map(({ index }, i) => operation((target) =>
        file.read(memory.address + i * TAIL, TAIL, segmentOffset(index + 1, segmentBytes) - TAIL, target, 0))))
      for (const [i, header] of batch.entries()) {
        const tail = memory.bytes.subarray(i * TAIL, (i + 1) * TAIL), length = summaryLength(tail, segmentBytes)
        if (length === null) { visit(first + i, null, tail); continue }
        if (length > TAIL) { await longSummary(file, header, segmentBytes, length, (fields, bytes) => visit(first + i, fields, bytes)); continue }
        const bytes = tail.subarray(TAIL - length)
        visit(first + i, decodeSummary(bytes, header, segmentBytes, crc), bytes)
      }
    }
  } finally {
    memory.free()
  }
}

async function longSummary(
  file: RegionFile, header: SegmentHeader, segmentBytes: number, lengthBytes: number, visit: (fields: SummaryFields | null, bytes: Uint8Array) => void,
): Promise<void> {
  const memory = new AlignedMemory(lengthBytes)
  try {
    await operation((target) => file.read(memory.address, lengthBytes, segmentOffset(header.index + 1, segmentBytes) - lengthBytes, target, 0))
    visit(decodeSummary(memory.bytes, header, segmentBytes, crc), memory.bytes)
  } finally {
    memory.free()
  }
}
