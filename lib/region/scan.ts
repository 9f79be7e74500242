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
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { BlockFile } from '../ports/io.js'
import { crc } from './crc.js'
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, segmentOffset, type SegmentHeader } from './layout.js'

export interface FoundRecord { readonly header: RecordHeader; readonly offsetBytes: number }

export interface FoundSegment { readonly header: SegmentHeader; readonly records: FoundRecord[]; usedBytes: number }

/** A log's segments in order, each with its good records. */
export interface FoundLog { readonly segments: FoundSegment[] }

const CHUNK = 1024 * 1024

/** Headers of all segments that carry this region's incarnation. */
export async function readSegmentHeaders(file: BlockFile, incarnation: string, segmentBytes: number, segmentCount: number): Promise<SegmentHeader[]> {
  const memory = new AlignedMemory(SEGMENT_HEADER_BYTES * limits.headerReadsMax)
  const found: SegmentHeader[] = []
  try {
    for (let first = 0; first < segmentCount; first += limits.headerReadsMax) {
      const n = Math.min(limits.headerReadsMax, segmentCount - first)
      await Promise.all(Array.from({ length: n }, (_, i) => operation((target) =>
        file.read(memory.address + i * SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES, segmentOffset(first + i, segmentBytes), target, 0))))
      for (let i = 0; i < n; i++) {
        const header = decodeSegmentHeader(memory.bytes.subarray(i * SEGMENT_HEADER_BYTES, (i + 1) * SEGMENT_HEADER_BYTES), crc)
        if (header === 'newer') throw new Failure(EXIT.config, `region ${file.path}: segment ${first + i} has a newer format than this release reads; run the newer release (nothing was changed)`)
        if (header !== 'none' && header.incarnation === incarnation && header.index === first + i) found.push(header)
      }
    }
  } finally {
    memory.free()
  }
  return found
}

/**
 * Groups headers into logs; of each the run of segments that ends with the newest, without a gap (older ones were
 * trimmed). One tombstone is enough: what the same log had used until then is deleted.
 */
export function groupLogs(headers: readonly SegmentHeader[]): SegmentHeader[][] {
  const logs = new Map<string, SegmentHeader[]>()
  for (const header of headers) {
    const key = `${header.volume} ${header.epoch} ${header.nonce}`
    logs.set(key, [...(logs.get(key) ?? []), header])
  }
  const alive = [...logs.values()].map((segments) => {
    const deletedUse = segments.reduce((most, segment) => Math.max(most, segment.deletedUse), 0)
    return segments.filter((segment) => segment.deletedUse === 0 && segment.useSequence > deletedUse)
  }).filter((segments) => segments.length > 0)
  return alive.map((segments) => {
    // A segment used twice by the same log has a stale header nowhere: the later use overwrote it.
    segments.sort((a, b) => a.ordinal - b.ordinal)
    let from = segments.length - 1
    while (from > 0 && segments[from - 1]!.ordinal === segments[from]!.ordinal - 1) from--
    return segments.slice(from)
  })
}

export async function scanLog(file: BlockFile, headers: readonly SegmentHeader[], segmentBytes: number, base: Won): Promise<FoundLog> {
  const segments: FoundSegment[] = []
  const memory = new AlignedMemory(segmentBytes)
  let expected = headers[0]!.firstWon, previousCrc = headers[0]!.previousHeaderCrc
  let torn: Won | null = null
  try {
    for (const header of headers) {
      await readSegment(file, header.index, segmentBytes, memory)
      // The records between were lost with the segment before: they are the bad ones, and this segment may vouch for them.
      if (torn === null && header.firstWon !== expected) torn = expected
      const found: FoundSegment = { header, records: [], usedBytes: SEGMENT_HEADER_BYTES }
      let at = SEGMENT_HEADER_BYTES
      while (torn === null && at + HEADER_BYTES <= segmentBytes) {
        const record = goodRecord(memory.bytes, at, header, expected, previousCrc)
        if (record === null) break
        found.records.push({ header: record, offsetBytes: segmentOffset(header.index, segmentBytes) + at })
        at += record.lengthBytes
        found.usedBytes = at
        expected = toWon(expected + 1)
        previousCrc = record.headerCrc
      }
      const vouched = highestFlushed(memory.bytes, at, header, segmentBytes)
      const missing = torn ?? expected
      if (vouched >= missing && missing > base) {
        throw new Failure(EXIT.damaged,
          `region ${file.path}: record ${missing} of volume ${header.volume}, epoch ${header.epoch} (segment ${header.index}, byte ${segmentOffset(header.index, segmentBytes) + at}) ` +
          `is damaged, although a later record proves that it was stored up to ${vouched}; nothing was changed: keep the file, and take the volume over on another holder`)
      }
      if (torn === null) segments.push(found)
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
  await Promise.all(reads)
}

/** The record that must be here, or null. A record of a newer format stops everything. */
function goodRecord(bytes: Uint8Array, at: number, segment: SegmentHeader, expected: Won, previousCrc: number): RecordHeader | null {
  const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
  if ('problem' in header) {
    if (header.kind === 'newer') throw new Failure(EXIT.config, `${header.problem}; run the newer release, nothing was changed`)
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
