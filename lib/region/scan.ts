/** Recovery by scan: which logs are in the region, and how far each is good. What is not clear stops it. */
import { EXIT, Failure } from '../core/failure.js'
import { HEADER_BYTES, type RecordHeader } from '../core/record.js'
import { won as toWon, type Won } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { crc } from '../io/crc.js'
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, isFillHeader, segmentOffset, type SegmentHeader } from './layout.js'
import { aboveBase, headerAt, isDamaged, readSegment, walkLog, type RegionFile, type WalkOptions } from './walk.js'

/** A segment of a log with the records that are good: their places, or null where the summary has them. */
export interface FoundSegment { readonly header: SegmentHeader; offsets: number[] | null; count: number; usedBytes: number; lastHeaderCrc: number }

/** A log's segments in order. */
export interface FoundLog { readonly segments: FoundSegment[] }

export interface FoundHeaders {
  /** Those that carry this region's incarnation. */
  readonly headers: SegmentHeader[]
  /** Segments whose header is neither readable nor all zero, as it is before the first use: it is never torn, so it was damaged. */
  readonly unreadable: number[]
}

export async function readSegmentHeaders(file: RegionFile, incarnation: string, segmentBytes: number, segmentCount: number): Promise<FoundHeaders> {
  const memory = new AlignedMemory(SEGMENT_HEADER_BYTES * limits.headerReadsMax)
  const headers: SegmentHeader[] = [], unreadable: number[] = []
  try {
    for (let first = 0; first < segmentCount; first += limits.headerReadsMax) {
      const n = Math.min(limits.headerReadsMax, segmentCount - first)
      await allEnded(Array.from({ length: n }, (_, i) => operation((target) =>
        file.read(memory.address + i * SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES, segmentOffset(first + i, segmentBytes), target, 0))))
      for (let i = 0; i < n; i++) {
        const bytes = memory.bytes.subarray(i * SEGMENT_HEADER_BYTES, (i + 1) * SEGMENT_HEADER_BYTES)
        const header = decodeSegmentHeader(bytes, crc)
        if (header === 'newer') throw new Failure(EXIT.config, `region ${file.path}: segment ${first + i} has a newer format than this release reads; run the newer release (nothing was changed)`)
        if (header === 'none' && bytes.some((b) => b !== 0) && !isFillHeader(bytes, crc)) unreadable.push(first + i)
        if (header !== 'none' && header.incarnation === incarnation && header.index === first + i) headers.push(header)
      }
    }
  } finally {
    memory.free()
  }
  return { headers, unreadable }
}

/** A segment that cannot be told hides nothing as long as every record in it vouches only for what was found, by `end`, elsewhere. */
export async function checkUnreadable(file: RegionFile, indexes: readonly number[], segmentBytes: number, end: (record: RecordHeader) => number): Promise<void> {
  await eachUntold(file, indexes, segmentBytes, (record, index) => {
    if (record.flushedWon <= end(record)) return
    throw new Failure(EXIT.damaged, `region ${file.path}: the header of segment ${index} (byte ${segmentOffset(index, segmentBytes)}) is damaged, and volume ${record.volume}, ` +
      `epoch ${record.epoch}, was stored up to ${record.flushedWon} and is found up to ${end(record)}; nothing was changed: keep the file, and take the volume over on another holder`)
  })
}

/** The record headers in segments whose own header is not readable. A header is good during its call only. */
export async function eachUntold(
  file: RegionFile, indexes: readonly number[], segmentBytes: number, visit: (record: RecordHeader, index: number, at: number, segment: Uint8Array) => void,
): Promise<void> {
  if (indexes.length === 0) return
  const memory = new AlignedMemory(segmentBytes)
  try {
    for (const index of indexes) {
      await readSegment(file, index, segmentBytes, memory)
      for (let at = SEGMENT_HEADER_BYTES; at + HEADER_BYTES <= segmentBytes; at += HEADER_BYTES) {
        const record = headerAt(memory.bytes, at)
        if (record !== null) visit(record, index, at, memory.bytes)
      }
    }
  } finally {
    memory.free()
  }
}

/** What the segments of one log have in common. */
export const logKey = ({ volume, epoch, nonce }: SegmentHeader): string => `${volume} ${epoch} ${nonce}`

/**
 * Groups headers into logs; of each the run of segments that ends with the newest, without a gap (older ones were
 * trimmed). One tombstone is enough: what the same log had used until then is deleted. `halfDeleted`: the headers of
 * its segments that a power cut left without one, as they should be; they must be written before any segment is used
 * again, or the log is back as soon as the last tombstone is overwritten.
 */
export function groupLogs(headers: readonly SegmentHeader[]): { readonly logs: SegmentHeader[][]; readonly halfDeleted: SegmentHeader[] } {
  const logs = new Map<string, SegmentHeader[]>()
  for (const header of headers) {
    const key = logKey(header)
    logs.set(key, [...(logs.get(key) ?? []), header])
  }
  const halfDeleted: SegmentHeader[] = []
  const alive = [...logs.values()].map((segments) => {
    const deletedUse = segments.reduce((most, segment) => Math.max(most, segment.deletedUse), 0)
    const unmarked = segments.filter((segment) => segment.deletedUse === 0)
    halfDeleted.push(...unmarked.filter((segment) => segment.useSequence <= deletedUse).map((segment) => ({ ...segment, deletedUse })))
    return unmarked.filter((segment) => segment.useSequence > deletedUse)
  }).filter((segments) => segments.length > 0)
  return { halfDeleted, logs: alive.map((segments) => {
    // A log that went on behind a torn record gave out the same ordinals again: what was taken into use later counts.
    segments.sort((a, b) => a.useSequence - b.useSequence)
    const newest: SegmentHeader[] = []
    for (const segment of segments) {
      while (newest.length > 0 && newest.at(-1)!.ordinal >= segment.ordinal) newest.pop()
      newest.push(segment)
    }
    let from = newest.length - 1
    while (from > 0 && newest[from - 1]!.ordinal === newest[from]!.ordinal - 1) from--
    return newest.slice(from)
  }) }
}

/** The first record above the base that the log's first segment does not have, or null. */
export function lostBefore(first: SegmentHeader, base: Won): Won | null {
  const from = toWon(Math.max(base, first.start) + 1)
  return first.firstWon > from ? from : null
}

export async function scanLog(
  file: RegionFile, found: readonly SegmentHeader[], segmentBytes: number, base: Won, options: Pick<WalkOptions, 'summaries' | 'blocks'>,
): Promise<FoundLog> {
  const segments: FoundSegment[] = [], log = found[0]!
  const end = await walkLog(file, aboveBase(found, base), segmentBytes, {
    segment: (header) => { segments.push({ header, offsets: [], count: 0, usedBytes: SEGMENT_HEADER_BYTES, lastHeaderCrc: header.previousHeaderCrc }) },
    summarized: ({ count, usedBytes, lastHeaderCrc }) => { Object.assign(segments.at(-1)!, { offsets: null, count, usedBytes, lastHeaderCrc }) },
    record: (record, offsetBytes) => {
      const segment = segments.at(-1)!
      segment.offsets!.push(offsetBytes)
      segment.count++
      segment.usedBytes += record.lengthBytes
      segment.lastHeaderCrc = record.headerCrc
    },
  }, { payloads: true, ...options })
  if (isDamaged(end, base)) {
    throw new Failure(EXIT.damaged,
      `region ${file.path}: record ${end.missing} of volume ${log.volume}, epoch ${log.epoch} (segment ${end.segment}, byte ${end.offsetBytes}) is damaged, although a later record ` +
      `proves that it was stored up to ${end.vouchedWon}; nothing was changed: keep the file, and take the volume over on another holder`)
  }
  return { segments }
}
