/**
 * One log's segments, read in order and judged record by record: the routine behind recovery, `inspect` and `salvage`.
 *
 * A log ends at its first bad record. Whether that is a torn tail or damage is decided by what lies beyond: every
 * record names the won that was known power-safe when it was made, so a later good record that vouches for the bad
 * one proves damage (H4). Without such a witness the bad record was never confirmed as power-safe, and losing it
 * with the power is what `durability = "flush"` allows; with "write" a record is vouched for by those made after it
 * was acknowledged.
 */
import { EXIT, Failure } from '../core/failure.js'
import { HEADER_BYTES, parseHeader, verifyPayload, type BlockVisitor, type RecordHeader } from '../core/record.js'
import { BLOCK_BYTES, won as toWon, type Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import type { BlockFile } from '../ports/io.js'
import { SEGMENT_HEADER_BYTES, segmentOffset, type SegmentHeader } from './layout.js'
import { eachSummary } from './read-summaries.js'
import type { SummaryFields } from './summary.js'

/** What recovery needs of a region's file: a daemon's ring or a command's plain reads. */
export type RegionFile = Pick<BlockFile, 'path' | 'read'>

const CHUNK = 1024 * 1024

/** Headers are good during the call only: the next segment is read into the same memory. */
export interface LogVisitor {
  /** Another segment was read. */
  begun?(): void
  /** The log goes on in this segment. */
  segment(header: SegmentHeader): void
  /** All of the segment's records are good: it was left, and its summary says so. */
  summarized?(fields: SummaryFields): void
  /** The log's next record. */
  record(header: RecordHeader, offsetBytes: number): void
  /** A record of this log behind its end, at any place; `whole`: its payload is good. */
  beyond?(header: RecordHeader, offsetBytes: number, whole: boolean): void
}

export interface WalkOptions {
  /** False: payloads are taken for good. */
  readonly payloads: boolean
  /** `trust`: segments with a summary are not read. `check`: they are, and a bad record in one was good once. */
  readonly summaries: 'trust' | 'check'
  /** Told of the blocks of records that are read, by their place: blocks from the start of the region. */
  readonly blocks?: BlockVisitor
}

export interface LogEnd {
  /** The record that is not there, or not good. */
  readonly missing: Won
  /** Where it should be: segment, and byte in the region. */
  readonly segment: number
  readonly offsetBytes: number
  /** The highest won that a record beyond vouches for; 0 without one. */
  readonly vouchedWon: number
  /** Something of the missing record, or of a later one, is there. */
  readonly torn: boolean
}

/** The log was good up to there once, and what is missing lies above the base: losing it is not the power's doing. */
export const isDamaged = (end: LogEnd, base: Won): boolean => end.vouchedWon >= end.missing && end.vouchedWon > base

/** What lies wholly at or below the base was given back, and may be written over half already: it neither counts nor ends the log. */
export const aboveBase = (found: readonly SegmentHeader[], base: Won): SegmentHeader[] =>
  found.filter((_, i) => !(i + 1 < found.length && found[i + 1]!.firstWon <= base + 1))

/** `headers`: the log's segments in order, at least one. */
export async function walkLog(
  file: RegionFile, headers: readonly SegmentHeader[], segmentBytes: number, visitor: LogVisitor, options: WalkOptions,
): Promise<LogEnd> {
  const memory = new AlignedMemory(segmentBytes)
  let expected = headers[0]!.firstWon, previousCrc = headers[0]!.previousHeaderCrc, vouchedWon = 0
  let ended = false, torn = false, segment = headers[0]!.index, offsetBytes = segmentOffset(segment, segmentBytes) + SEGMENT_HEADER_BYTES
  try {
    const summaries = await summariesOf(file, headers, segmentBytes)
    for (const [i, header] of headers.entries()) {
      const from = segmentOffset(header.index, segmentBytes), summary = summaries[i]!
      visitor.begun?.()
      if (options.summaries === 'trust' && !ended && follows(header, summary, expected, previousCrc)) {
        visitor.segment(header)
        visitor.summarized?.(summary)
        expected = toWon(expected + summary.count)
        previousCrc = summary.lastHeaderCrc
        segment = header.index
        offsetBytes = from + summary.usedBytes
        continue
      }
      await readSegment(file, header.index, segmentBytes, memory)
      // The records between were lost with the segment before: they are the bad ones, and this segment may vouch for them.
      if (header.firstWon !== expected) { ended = true; torn = true }
      let at = SEGMENT_HEADER_BYTES
      if (!ended) visitor.segment(header)
      while (!ended && at + HEADER_BYTES <= segmentBytes) {
        const record = goodRecord(file.path, memory.bytes, at, header, expected, previousCrc, options)
        if (typeof record === 'string') { if (record === 'torn') torn = true; break }
        visitor.record(record, from + at)
        at += record.lengthBytes
        expected = toWon(expected + 1)
        previousCrc = record.headerCrc
      }
      // Of another segment it says nothing: a write there may have been under way when this one became power-safe.
      if (!ended && summary !== null && !header.copied) vouchedWon = Math.max(vouchedWon, header.firstWon + summary.count - 1)
      // The end of the segment before is the bad place as long as nothing good follows it.
      if (!ended) { segment = header.index; offsetBytes = from + at }
      for (const place of headersOf(memory.bytes, at, header)) {
        const record = headerAt(memory.bytes, place)!
        // A copy that was begun anew may lie where the one before it was, record for record the same.
        if (!header.copied) vouchedWon = Math.max(vouchedWon, record.flushedWon)
        torn ||= record.won >= expected
        visitor.beyond?.(record, from + place, wholeAt(memory.bytes, place, record, options))
      }
    }
  } finally {
    memory.free()
  }
  return { missing: expected, segment, offsetBytes, vouchedWon, torn }
}

const follows = (header: SegmentHeader, summary: SummaryFields | null, expected: Won, previousCrc: number): summary is SummaryFields =>
  summary !== null && header.firstWon === expected && summary.previousHeaderCrc === previousCrc

async function summariesOf(file: RegionFile, headers: readonly SegmentHeader[], segmentBytes: number): Promise<(SummaryFields | null)[]> {
  const found: (SummaryFields | null)[] = []
  await eachSummary(file, headers, segmentBytes, (_i, fields) => { found.push(fields) })
  return found
}

export async function readSegment(file: RegionFile, index: number, segmentBytes: number, memory: AlignedMemory): Promise<void> {
  const from = segmentOffset(index, segmentBytes)
  const reads: Promise<number>[] = []
  for (let at = 0; at < segmentBytes; at += CHUNK) {
    reads.push(operation((target) => file.read(memory.address + at, Math.min(CHUNK, segmentBytes - at), from + at, target, 0)))
  }
  await allEnded(reads)
}

/** The record header at this place of a segment, if there is a good one. */
export function headerAt(bytes: Uint8Array, at: number): RecordHeader | null {
  const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
  return 'problem' in header ? null : header
}

/** Does the record at this place end in its segment, with good payloads? */
export const wholeAt = (bytes: Uint8Array, at: number, header: RecordHeader, { payloads }: Pick<WalkOptions, 'payloads'>, blocks?: BlockVisitor): boolean =>
  at + header.lengthBytes <= bytes.length && (!payloads || verifyPayload(bytes.subarray(at, at + header.lengthBytes), header, crc, blocks))

const ofLog = (header: RecordHeader, segment: SegmentHeader): boolean =>
  header.volume === segment.volume && header.epoch === segment.epoch && header.nonce === segment.nonce

/** The places of the good headers of this log at or behind `from`, block by block. */
function* headersOf(bytes: Uint8Array, from: number, segment: SegmentHeader): Generator<number> {
  for (let at = from; at + HEADER_BYTES <= bytes.length; at += HEADER_BYTES) {
    const header = headerAt(bytes, at)
    if (header !== null && ofLog(header, segment)) yield at
  }
}

/**
 * The record that must be here. 'torn': something of it is, or of a header that cannot be told. A record of a newer
 * format stops everything.
 */
function goodRecord(
  path: string, bytes: Uint8Array, at: number, segment: SegmentHeader, expected: Won, previousCrc: number, options: WalkOptions,
): RecordHeader | 'torn' | 'other' {
  const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
  if ('problem' in header) {
    if (header.kind === 'newer') {
      const place = `segment ${segment.index}, byte ${segmentOffset(segment.index, bytes.length) + at}`
      throw new Failure(EXIT.config, `region ${path}: ${place}: ${header.problem}; run the newer release (nothing was changed)`)
    }
    return header.kind === 'damaged' ? 'torn' : 'other'
  }
  if (!ofLog(header, segment) || header.start !== segment.start || header.won !== expected) return 'other'
  if (header.previousHeaderCrc !== previousCrc) return 'torn'
  const { blocks } = options, place = (segmentOffset(segment.index, bytes.length) + at) / BLOCK_BYTES
  const whole = wholeAt(bytes, at, header, options, blocks === undefined ? undefined : (block, sum) => blocks(place + block, sum))
  return whole ? header : 'torn'
}
