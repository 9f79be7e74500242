/**
 * The summary of a segment that its log has left: what recovery needs of the records in it, at the segment's end.
 *
 * It is written only after every record in the segment is power-safe: who finds a whole summary need not look whether
 * the records are there. It lies in room that the records leave, and a record never runs into one: a log does not go
 * on in a segment that has a summary. One that is missing, torn, or of an earlier use of the segment says nothing, and
 * the records are read instead.
 */
import { assert } from '../core/assert.js'
import type { Layer } from '../core/layer.js'
import { ENTRIES_MAX, ENTRY, ENTRY_BYTES, HEADER_BYTES, getHex, getU64, putHex, putU64, uuidOf, type Crc } from '../core/record.js'
import { BLOCK_BYTES, GUEST_SECTORS_MAX, SECTOR_BYTES, roundUp } from '../core/units.js'
import { limits } from '../limits.js'
import { SEGMENT_HEADER_BYTES, type SegmentHeader } from './layout.js'

const SUMMARY_VERSION = 1
const SUMMARY_MAGIC = 0x59464448 // "HDFY"
/** The fields, in the segment's last bytes; the records' part begins with the summary's first block. */
export const SUMMARY_FIELDS_BYTES = 128
const RECORD_PART = 8
const ENTRY_PART = 12
const LARGEST_PART = RECORD_PART + ENTRIES_MAX * ENTRY_PART
const KINDS = 16
const TWO_32 = 0x1_0000_0000
/** Where a record's header has its entries, as `core/record` writes it. */
const HEADER_AT = { length: 80, count: 84, crc: 8, entry: 128 } as const
/** As much of a record's header as is looked at. */
export const HEADER_PART_BYTES = HEADER_AT.entry + ENTRIES_MAX * ENTRY_BYTES

/** What all of a segment's summary says together. */
export interface SummaryFields {
  readonly count: number
  /** End of the last record. */
  readonly usedBytes: number
  readonly previousHeaderCrc: number
  readonly lastHeaderCrc: number
  /** Bytes of the whole summary. */
  readonly lengthBytes: number
}

/** Collects while a log fills a segment; small writes need about 20 bytes a record. */
export class SummaryBuilder {
  #view = new DataView(new ArrayBuffer(BLOCK_BYTES))
  #partBytes = 0
  #count = 0
  #usedBytes = SEGMENT_HEADER_BYTES
  #lastHeaderCrc = 0
  readonly #maxBytes: number

  constructor(segmentBytes: number) { this.#maxBytes = segmentBytes / limits.summaryShare }

  get lengthBytes(): number { return roundUp(this.#partBytes + SUMMARY_FIELDS_BYTES, BLOCK_BYTES) }
  /** What has to stay free behind the next record, whatever is in it. */
  get roomBytes(): number { return roundUp(this.#partBytes + LARGEST_PART + SUMMARY_FIELDS_BYTES, BLOCK_BYTES) }
  get full(): boolean { return this.roomBytes > this.#maxBytes }

  /** `header`: the first HEADER_PART_BYTES of the next record. */
  add(header: DataView): void {
    const count = header.getUint32(HEADER_AT.count, true), lengthBytes = header.getUint32(HEADER_AT.length, true)
    assert(count <= ENTRIES_MAX && !this.full, 'a record fits its summary')
    if (this.#partBytes + LARGEST_PART > this.#view.byteLength) this.#grow()
    this.#lastHeaderCrc = header.getUint32(HEADER_AT.crc, true)
    this.#put(lengthBytes / BLOCK_BYTES + count * 65536)
    this.#put(this.#lastHeaderCrc)
    for (let at: number = HEADER_AT.entry; at < HEADER_AT.entry + count * ENTRY_BYTES; at += ENTRY_BYTES) {
      this.#put(header.getUint32(at, true))
      this.#put(header.getUint32(at + 4, true) * KINDS + header.getUint16(at + 12, true))
      this.#put(header.getUint32(at + 8, true))
    }
    this.#usedBytes += lengthBytes
    this.#count++
  }

  #put(value: number): void {
    this.#view.setUint32(this.#partBytes, value, true)
    this.#partBytes += 4
  }

  #grow(): void {
    const grown = new Uint8Array(this.#view.byteLength * 2)
    grown.set(new Uint8Array(this.#view.buffer))
    this.#view = new DataView(grown.buffer)
  }

  /** `out`: `lengthBytes`, the end of the segment. */
  encode(segment: SegmentHeader, out: Uint8Array, crc: Crc): void {
    const view = new DataView(out.buffer, out.byteOffset, out.byteLength), at = out.length - SUMMARY_FIELDS_BYTES
    out.fill(0)
    out.set(new Uint8Array(this.#view.buffer, 0, this.#partBytes))
    view.setUint32(at, SUMMARY_MAGIC, true)
    view.setUint32(at + 4, SUMMARY_VERSION, true)
    view.setUint32(at + 12, out.length, true)
    putHex(out, at + 16, segment.incarnation)
    putHex(out, at + 32, segment.volume)
    putHex(out, at + 48, segment.nonce)
    putU64(view, at + 64, segment.useSequence)
    putU64(view, at + 72, segment.epoch)
    putU64(view, at + 80, segment.firstWon)
    view.setUint32(at + 88, this.#count, true)
    view.setUint32(at + 92, this.#usedBytes, true)
    view.setUint32(at + 96, segment.previousHeaderCrc, true)
    view.setUint32(at + 100, this.#lastHeaderCrc, true)
    view.setUint32(at + 104, segment.index, true)
    view.setUint32(at + 8, crc(out, 0), true)
  }
}

/** Length of the summary that ends with `tail`, before anything of it is checked; null where there is none. */
export function summaryLength(tail: Uint8Array, segmentBytes: number): number | null {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength), at = tail.length - SUMMARY_FIELDS_BYTES
  const lengthBytes = view.getUint32(at + 12, true)
  const sane = lengthBytes >= BLOCK_BYTES && lengthBytes <= segmentBytes / limits.summaryShare && lengthBytes % BLOCK_BYTES === 0
  return view.getUint32(at, true) === SUMMARY_MAGIC && sane ? lengthBytes : null
}

/** `bytes`: the whole summary. Null for one that is damaged, newer, or not of this use of the segment. */
export function decodeSummary(bytes: Uint8Array, segment: SegmentHeader, segmentBytes: number, crc: Crc): SummaryFields | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at = bytes.length - SUMMARY_FIELDS_BYTES
  if (crc(bytes.subarray(at + 12), crc(NO_CRC, crc(bytes.subarray(0, at + 8), 0))) !== view.getUint32(at + 8, true)) return null
  const same = view.getUint32(at + 4, true) === SUMMARY_VERSION && getU64(view, at + 64) === segment.useSequence && getU64(view, at + 72) === segment.epoch &&
    getU64(view, at + 80) === segment.firstWon && view.getUint32(at + 104, true) === segment.index && view.getUint32(at + 96, true) === segment.previousHeaderCrc &&
    getHex(bytes, at + 16) === segment.incarnation && uuidOf(getHex(bytes, at + 32)) === segment.volume && getHex(bytes, at + 48) === segment.nonce
  const count = view.getUint32(at + 88, true), usedBytes = view.getUint32(at + 92, true)
  if (!same || count < 1 || usedBytes + bytes.length > segmentBytes) return null
  return { count, usedBytes, previousHeaderCrc: segment.previousHeaderCrc, lastHeaderCrc: view.getUint32(at + 100, true), lengthBytes: bytes.length }
}

const NO_CRC = new Uint8Array(4)

/**
 * Puts the records [from, to) of the segment, counted from 0, into a layer. `bytes` is a whole summary with these
 * fields; `offsetBytes` is the segment's place in the region. False when it does not add up: then nothing was put in.
 */
export function applySummary(layer: Layer, bytes: Uint8Array, fields: SummaryFields, offsetBytes: number, from: number, to: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!addsUp(view, fields)) return false
  let record = offsetBytes + SEGMENT_HEADER_BYTES
  for (let i = 0, at = 0; i < to; i++) {
    const head = view.getUint32(at, true), count = Math.floor(head / 65536)
    at += RECORD_PART
    let payload = (record + HEADER_BYTES) / SECTOR_BYTES
    for (let entry = 0; entry < count; entry++, at += ENTRY_PART) {
      const high = view.getUint32(at + 4, true), sectors = view.getUint32(at + 8, true)
      const lba = view.getUint32(at, true) + Math.floor(high / KINDS) * TWO_32, data = high % KINDS === ENTRY.data
      if (i >= from) {
        if (data) layer.putData(lba, sectors, payload)
        else layer.putZero(lba, sectors)
      }
      if (data) payload += sectors
    }
    record += (head % 65536) * BLOCK_BYTES
  }
  return true
}

/** The checksum says that it is what was written; this says that what was written makes sense. */
function addsUp(view: DataView, { count, usedBytes }: SummaryFields): boolean {
  const end = view.byteLength - SUMMARY_FIELDS_BYTES
  let used = SEGMENT_HEADER_BYTES, at = 0
  for (let i = 0; i < count; i++) {
    if (at + RECORD_PART > end) return false
    const head = view.getUint32(at, true), entries = Math.floor(head / 65536)
    at += RECORD_PART
    if (entries < 1 || at + entries * ENTRY_PART > end) return false
    let sectors = HEADER_BYTES / SECTOR_BYTES
    for (let entry = 0; entry < entries; entry++, at += ENTRY_PART) {
      const high = view.getUint32(at + 4, true), length = view.getUint32(at + 8, true)
      if (view.getUint32(at, true) + Math.floor(high / KINDS) * TWO_32 + length > GUEST_SECTORS_MAX) return false
      if (high % KINDS === ENTRY.data) sectors += length
    }
    const lengthBytes = (head % 65536) * BLOCK_BYTES
    if (roundUp(sectors * SECTOR_BYTES, BLOCK_BYTES) !== lengthBytes) return false
    used += lengthBytes
  }
  return used === usedBytes
}
