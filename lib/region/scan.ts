/**
 * Recovery by scan: which logs are in the region, and how far each is good.
 *
 * A log ends at its first bad record. Whether that is a torn tail or damage is decided by what lies beyond: every
 * record names the won that was known power-safe when it was made, so a later good record that vouches for the bad
 * one proves damage (H4). Without such a witness the bad record was never confirmed as power-safe, and losing it
 * with the power is what `durability = "flush"` allows; with "write" a record is vouched for by those made after it
 * was acknowledged.
 */
import { EXIT, Failure } from '../core/failure.js'
import { HEADER_BYTES, parseHeader, verifyPayload, type RecordHeader } from '../core/record.js'
import { won as toWon, type Won } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { BlockFile } from '../ports/io.js'
import { crc } from '../io/crc.js'
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, segmentOffset, type SegmentHeader } from './layout.js'

export interface FoundRecord { readonly header: RecordHeader; readonly offsetBytes: number }

export interface FoundSegment { readonly header: SegmentHeader; readonly records: FoundRecord[]; usedBytes: number }

/** A log's segments in order, each with its good records. */
export interface FoundLog { readonly segments: FoundSegment[] }

const CHUNK = 1024 * 1024

export interface FoundHeaders {
  /** Those that carry this region's incarnation. */
  readonly headers: SegmentHeader[]
  /** Segments whose header is neither readable nor all zero, as it is before the first use: it is never torn, so it was damaged. */
  readonly unreadable: number[]
}

export async function readSegmentHeaders(file: BlockFile, incarnation: string, segmentBytes: number, segmentCount: number): Promise<FoundHeaders> {
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
        if (header === 'none' && bytes.some((b) => b !== 0)) unreadable.push(first + i)
        if (header !== 'none' && header.incarnation === incarnation && header.index === first + i) headers.push(header)
      }
    }
  } finally {
    memory.free()
  }
  return { headers, unreadable }
}

/** A segment that cannot be told hides nothing as long as every record in it vouches only for what was found, by `end`, elsewhere. */
export async function checkUnreadable(file: BlockFile, indexes: readonly number[], segmentBytes: number, end: (record: RecordHeader) => number): Promise<void> {
  if (indexes.length === 0) return
  const memory = new AlignedMemory(segmentBytes)
  try {
    for (const index of indexes) {
      await readSegment(file, index, segmentBytes, memory)
      for (let at = SEGMENT_HEADER_BYTES; at + HEADER_BYTES <= segmentBytes; at += HEADER_BYTES) {
        const record = parseHeader(memory.bytes.subarray(at, at + HEADER_BYTES), crc)
        if ('problem' in record || record.flushedWon <= end(record)) continue
        throw new Failure(EXIT.damaged, `region ${file.path}: the header of segment ${index} (byte ${segmentOffset(index, segmentBytes)}) is damaged, and volume ${record.volume}, ` +
          `epoch ${record.epoch}, was stored up to ${record.flushedWon} and is found up to ${end(record)}; nothing was changed: keep the file, and take the volume over on another holder`)
      }
    }
  } finally {
    memory.free()
  }
}

/**
 * Groups headers into logs; of each the run of segments that ends with the newest, without a gap (older ones were
 * trimmed). One tombstone is enough: what the same log had used until then is deleted. `halfDeleted`: the headers of
 * its segments that a power cut left without one, as they should be; they must be written before any segment is used
 * again, or the log is back as soon as the last tombstone is overwritten.
 */
export function groupLogs(headers: readonly SegmentHeader[]): { readonly logs: SegmentHeader[][]; readonly halfDeleted: SegmentHeader[] } {
  const logs = new Map<string, SegmentHeader[]>()
  for (const header of headers) {
    const key = `${header.volume} ${header.epoch} ${header.nonce}`
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

export async function scanLog(file: BlockFile, found: readonly SegmentHeader[], segmentBytes: number, base: Won): Promise<FoundLog> {
  // What lies wholly at or below the base was given back, and may be written over half already: it neither counts nor ends the log.
  const headers = found.filter((_, i) => !(i + 1 < found.length && found[i + 1]!.firstWon <= base + 1))
  const segments: FoundSegment[] = []
  const memory = new AlignedMemory(segmentBytes)
  let expected = headers[0]!.firstWon, previousCrc = headers[0]!.previousHeaderCrc
  let torn: Won | null = null, where = ''
  try {
    for (const header of headers) {
      await readSegment(file, header.index, segmentBytes, memory)
      // The records between were lost with the segment before: they are the bad ones, and this segment may vouch for them.
      if (torn === null && header.firstWon !== expected) torn = expected
      const segment: FoundSegment = { header, records: [], usedBytes: SEGMENT_HEADER_BYTES }
      let at = SEGMENT_HEADER_BYTES
      while (torn === null && at + HEADER_BYTES <= segmentBytes) {
        const record = goodRecord(file.path, memory.bytes, at, header, expected, previousCrc)
        if (record === null) break
        segment.records.push({ header: record, offsetBytes: segmentOffset(header.index, segmentBytes) + at })
        at += record.lengthBytes
        segment.usedBytes = at
        expected = toWon(expected + 1)
        previousCrc = record.headerCrc
      }
      const vouched = highestFlushed(memory.bytes, at, header, segmentBytes)
      const missing = torn ?? expected
      // The end of the segment before is the bad place as long as nothing good follows it.
      if (torn === null) where = `segment ${header.index}, byte ${segmentOffset(header.index, segmentBytes) + at}`
      if (vouched >= missing && vouched > base) {
        throw new Failure(EXIT.damaged,
          `region ${file.path}: record ${missing} of volume ${header.volume}, epoch ${header.epoch} (${where}) is damaged, although a later record ` +
          `proves that it was stored up to ${vouched}; nothing was changed: keep the file, and take the volume over on another holder`)
      }
      if (torn === null) segments.push(segment)
    }
  } finally {
    memory.free()
  }
  return { segments }
}

async function readSegment(file: BlockFile, index: number, segmentBytes: number, memory: AlignedMemory): Promise<void> {
  const from = segmentOffset(index, segmentBytes)
  const reads: Promise<number>[] = []
  for (let at = 0; at < segmentBytes; at += CHUNK) {
    reads.push(operation((target) => file.read(memory.address + at, Math.min(CHUNK, segmentBytes - at), from + at, target, 0)))
  }
  await allEnded(reads)
}

/** The record that must be here, or null. A record of a newer format stops everything. */
function goodRecord(path: string, bytes: Uint8Array, at: number, segment: SegmentHeader, expected: Won, previousCrc: number): RecordHeader | null {
  const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
  if ('problem' in header) {
    if (header.kind === 'newer') {
      const place = `segment ${segment.index}, byte ${segmentOffset(segment.index, bytes.length) + at}`
      throw new Failure(EXIT.config, `region ${path}: ${place}: ${header.problem}; run the newer release (nothing was changed)`)
    }
    return null
  }
  const belongs = header.volume === segment.volume && header.epoch === segment.epoch && header.nonce === segment.nonce && header.start === segment.start
  if (!belongs || header.won !== expected || header.previousHeaderCrc !== previousCrc || at + header.lengthBytes > bytes.length) return null
  if (!verifyPayload(bytes.subarray(at, at + header.lengthBytes), header, crc)) return null
  // The header's view must not follow the buffer, which the next segment is read into.
  const own = parseHeader(Uint8Array.prototype.slice.call(bytes, at, at + HEADER_BYTES), crc)
  return 'problem' in own ? null : own
}

/** The highest won that a good header of this log at or beyond `at` vouches for; 0 when there is none. */
function highestFlushed(bytes: Uint8Array, at: number, segment: SegmentHeader, segmentBytes: number): number {
  let highest = 0
  for (let i = at; i + HEADER_BYTES <= segmentBytes; i += HEADER_BYTES) {
    const header = parseHeader(bytes.subarray(i, i + HEADER_BYTES), crc)
    if ('problem' in header || header.volume !== segment.volume || header.epoch !== segment.epoch || header.nonce !== segment.nonce) continue
    highest = Math.max(highest, header.flushedWon)
  }
  return highest
}
