/**
 * The record: one group commit of guest writes, self-describing and checksummed. The same bytes are appended to the
 * region, sent to replicas, stored there, scanned at recovery and walked by the destager; so nothing in it is
 * particular to one holder (region and segment are named by the segment header). Byte tables: docs/format.md.
 */
import { assert } from './assert.js'
import { joinBlock } from './crc-join.js'
import { BLOCK_BYTES, GUEST_SECTORS_MAX, SECTORS_PER_BLOCK, SECTOR_BYTES, epoch as toEpoch, roundUp, won as toWon, type Epoch, type Won } from './units.js'

export const RECORD_MAGIC = 0x52464448 // "HDFR"
export const RECORD_VERSION = 1
export const HEADER_BYTES = 4096
export const ENTRY_BYTES = 24
const FIXED_BYTES = 128
export const ENTRIES_MAX = Math.floor((HEADER_BYTES - FIXED_BYTES) / ENTRY_BYTES)
/** Payload sectors of one record. */
export const PAYLOAD_SECTORS_MAX = 2048

export const ENTRY = { data: 1, zero: 2, discard: 3 } as const
export type EntryKind = (typeof ENTRY)[keyof typeof ENTRY]

/** (bytes, seed) -> CRC32C. */
export type Crc = (bytes: Uint8Array, seed: number) => number

const AT = {
  magic: 0, version: 4, headerCrc: 8, previousCrc: 12, volume: 16, nonce: 32, epoch: 48, won: 56, start: 64, flushed: 72,
  length: 80, entries: 84, entry: FIXED_BYTES,
} as const
const TWO_32 = 0x1_0000_0000
const HIGH_MAX = 0x20_0000

export function putU64(view: DataView, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a 64-bit field holds a safe integer')
  view.setUint32(at, value % TWO_32, true)
  view.setUint32(at + 4, Math.floor(value / TWO_32), true)
}

/** NaN when the value is not a safe integer: every comparison with it fails. */
export function getU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true)
  return high < HIGH_MAX ? high * TWO_32 + view.getUint32(at, true) : NaN
}

/** 32 hexadecimal digits, with or without the dashes of a UUID, to 16 bytes. */
export function putHex(bytes: Uint8Array, at: number, text: string): void {
  const digits = text.replaceAll('-', '')
  assert(/^[0-9a-f]{32}$/.test(digits), `"${text}" is 16 bytes in hexadecimal`)
  for (let i = 0; i < 16; i++) bytes[at + i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16)
}

export function getHex(bytes: Uint8Array, at: number): string {
  let text = ''
  for (let i = 0; i < 16; i++) text += bytes[at + i]!.toString(16).padStart(2, '0')
  return text
}

/** A structure's own checksum, in the four bytes at 8, which count as zeros in it. */
export function ownChecksumHolds(bytes: Uint8Array, lengthBytes: number, crc: Crc): boolean {
  // Not `slice`: that of a Buffer is no copy.
  const copy = Uint8Array.prototype.slice.call(bytes, 0, lengthBytes)
  copy.fill(0, 8, 12)
  return crc(copy, 0) === new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(8, true)
}

export const uuidOf = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`

export interface RecordIdentity {
  /** UUID. */
  readonly volume: string
  readonly epoch: Epoch
  readonly nonce: string
  readonly won: Won
  readonly start: Won
  readonly previousHeaderCrc: number
  /** All records of this log up to here were known power-safe on the whole set when this one was made: what recovery may demand. */
  readonly flushedWon: Won
}

/** Builds records in a staging buffer of header plus payload; reused. */
export class RecordBuilder {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #entries = 0
  #sectors = 0
  /** Volume and nonce, and their bytes: the same for every record of an epoch. */
  #volume = ''
  #nonce = ''
  readonly #names = new Uint8Array(32)

  constructor(bytes: Uint8Array) {
    assert(bytes.length >= HEADER_BYTES + PAYLOAD_SECTORS_MAX * SECTOR_BYTES, 'a staging buffer holds the largest record')
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get entryCount(): number { return this.#entries }
  get freeSectors(): number { return PAYLOAD_SECTORS_MAX - this.#sectors }

  begin(): void {
    this.#entries = 0
    this.#sectors = 0
  }

  /** Room for one more entry with at least this much data. */
  hasRoomFor(sectors: number): boolean { return this.#entries < ENTRIES_MAX && this.freeSectors >= sectors }

  /** Returns the byte offset of the entry's payload in the record (0 for kinds without data). */
  addEntry(lba: number, sectors: number, kind: EntryKind): number {
    assert(sectors > 0 && this.hasRoomFor(kind === ENTRY.data ? sectors : 0), 'an entry fits')
    assert(lba >= 0 && lba + sectors <= GUEST_SECTORS_MAX, 'an entry lies on the guest disk')
    const at = AT.entry + this.#entries++ * ENTRY_BYTES
    const payload = kind === ENTRY.data ? HEADER_BYTES / SECTOR_BYTES + this.#sectors : 0
    putU64(this.#view, at, lba)
    this.#view.setUint32(at + 8, sectors, true)
    this.#view.setUint16(at + 12, kind, true)
    this.#view.setUint16(at + 14, 0, true)
    this.#view.setUint32(at + 16, 0, true)
    this.#view.setUint32(at + 20, payload, true)
    if (kind === ENTRY.data) this.#sectors += sectors
    return payload * SECTOR_BYTES
  }

  setPayloadCrc(entry: number, crc: number): void { this.#view.setUint32(AT.entry + entry * ENTRY_BYTES + 16, crc, true) }
  entryLba(entry: number): number { return getU64(this.#view, AT.entry + entry * ENTRY_BYTES) }
  entrySectors(entry: number): number { return this.#view.getUint32(AT.entry + entry * ENTRY_BYTES + 8, true) }
  entryKind(entry: number): EntryKind { return this.#view.getUint16(AT.entry + entry * ENTRY_BYTES + 12, true) as EntryKind }
  payloadOffset(entry: number): number { return this.#view.getUint32(AT.entry + entry * ENTRY_BYTES + 20, true) * SECTOR_BYTES }

  /**
   * Finishes the header; may be called again to give the same writes another place in another epoch. What is written
   * here passes the very check that its readers make.
   */
  seal(id: RecordIdentity, crc: Crc): { lengthBytes: number; headerCrc: number } {
    const view = this.#view, bytes = this.#bytes
    assert(this.#entries > 0, 'a record has an entry')
    const used = HEADER_BYTES + this.#sectors * SECTOR_BYTES
    const lengthBytes = roundUp(used, BLOCK_BYTES)
    bytes.fill(0, used, lengthBytes)
    bytes.fill(0, AT.entry + this.#entries * ENTRY_BYTES, HEADER_BYTES)
    bytes.fill(0, AT.entries + 4, AT.entry)
    view.setUint32(AT.magic, RECORD_MAGIC, true)
    view.setUint32(AT.version, RECORD_VERSION, true)
    view.setUint32(AT.headerCrc, 0, true)
    view.setUint32(AT.previousCrc, id.previousHeaderCrc, true)
    this.#putNames(id)
    putU64(view, AT.epoch, id.epoch)
    putU64(view, AT.won, id.won)
    putU64(view, AT.start, id.start)
    putU64(view, AT.flushed, id.flushedWon)
    view.setUint32(AT.length, lengthBytes, true)
    view.setUint32(AT.entries, this.#entries, true)
    const bad = checkFields(view)
    assert(bad === null, `a record that is sealed is valid: ${bad}`)
    const headerCrc = crc(bytes.subarray(0, HEADER_BYTES), 0)
    view.setUint32(AT.headerCrc, headerCrc, true)
    return { lengthBytes, headerCrc }
  }

  #putNames(id: RecordIdentity): void {
    if (this.#volume !== id.volume || this.#nonce !== id.nonce) {
      this.#volume = id.volume
      this.#nonce = id.nonce
      putHex(this.#names, 0, id.volume)
      putHex(this.#names, AT.nonce - AT.volume, id.nonce)
    }
    this.#bytes.set(this.#names, AT.volume)
  }
}

export interface RecordHeader {
  readonly volume: string
  readonly nonce: string
  readonly epoch: Epoch
  readonly won: Won
  readonly start: Won
  readonly flushedWon: Won
  readonly previousHeaderCrc: number
  readonly headerCrc: number
  readonly lengthBytes: number
  readonly entryCount: number
  /** On the header's bytes; for the accessors below. */
  readonly view: DataView
}

export type ProblemKind = 'none' | 'newer' | 'damaged'
export interface HeaderProblem { readonly kind: ProblemKind; readonly problem: string }

const problem = (kind: ProblemKind, text: string): HeaderProblem => ({ kind, problem: text })

const NO_CRC = new Uint8Array(4)

/** The header's checksum counts its own field as zero; in three parts, so that nothing is copied. */
function headerCrcOf(bytes: Uint8Array, crc: Crc): number {
  const before = crc(NO_CRC, crc(bytes.subarray(0, AT.headerCrc), 0))
  return crc(bytes.subarray(AT.headerCrc + NO_CRC.length, HEADER_BYTES), before)
}

/**
 * Reads and checks a header; nothing of it is trusted before its checksum, and nothing points outside the record after.
 * The result looks at `bytes`: it is good as long as they are.
 */
export function parseHeader(bytes: Uint8Array, crc: Crc): RecordHeader | HeaderProblem {
  assert(bytes.length >= HEADER_BYTES, 'a header is 4096 bytes')
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  if (view.getUint32(AT.magic, true) !== RECORD_MAGIC) return problem('none', 'no record here')
  const headerCrc = view.getUint32(AT.headerCrc, true)
  if (headerCrcOf(bytes, crc) !== headerCrc) return problem('damaged', 'the header does not match its checksum')
  const version = view.getUint32(AT.version, true)
  if (version > RECORD_VERSION) return problem('newer', `record format ${version} is newer than this program (${RECORD_VERSION})`)
  const bad = checkFields(view)
  if (bad !== null) return problem('damaged', bad)
  return {
    volume: uuidOf(getHex(bytes, AT.volume)), nonce: getHex(bytes, AT.nonce), epoch: toEpoch(getU64(view, AT.epoch)),
    won: toWon(getU64(view, AT.won)), start: toWon(getU64(view, AT.start)), flushedWon: toWon(getU64(view, AT.flushed)),
    previousHeaderCrc: view.getUint32(AT.previousCrc, true), headerCrc, lengthBytes: view.getUint32(AT.length, true),
    entryCount: view.getUint32(AT.entries, true), view,
  }
}

/** What is wrong with a header's numbers, or null. Comparisons are written so that a NaN fails them. */
function checkFields(view: DataView): string | null {
  const won = getU64(view, AT.won), flushed = getU64(view, AT.flushed)
  if (!(won > getU64(view, AT.start)) || !(flushed < won) || !(getU64(view, AT.epoch) > 0)) return 'its order numbers make no sense'
  const count = view.getUint32(AT.entries, true), lengthBytes = view.getUint32(AT.length, true)
  if (count < 1 || count > ENTRIES_MAX) return `it claims ${count} entries`
  if (lengthBytes > HEADER_BYTES + PAYLOAD_SECTORS_MAX * SECTOR_BYTES) return `it claims a length of ${lengthBytes}`
  let next = HEADER_BYTES / SECTOR_BYTES
  for (let at: number = AT.entry; at < AT.entry + count * ENTRY_BYTES; at += ENTRY_BYTES) {
    const sectors = view.getUint32(at + 8, true), kind = view.getUint16(at + 12, true)
    const known = kind >= ENTRY.data && kind <= ENTRY.discard && view.getUint16(at + 14, true) === 0
    if (!known || sectors < 1 || !(getU64(view, at) + sectors <= GUEST_SECTORS_MAX)) return 'an entry makes no sense'
    if (view.getUint32(at + 20, true) !== (kind === ENTRY.data ? next : 0)) return 'an entry points elsewhere'
    if (kind === ENTRY.data) next += sectors
  }
  return roundUp(next * SECTOR_BYTES, BLOCK_BYTES) === lengthBytes ? null : 'its entries do not add up to its length'
}

const entryAt = (i: number): number => AT.entry + i * ENTRY_BYTES
export const entryLba = (h: RecordHeader, i: number): number => getU64(h.view, entryAt(i))
export const entrySectors = (h: RecordHeader, i: number): number => h.view.getUint32(entryAt(i) + 8, true)
export const entryKind = (h: RecordHeader, i: number): EntryKind => h.view.getUint16(entryAt(i) + 12, true) as EntryKind
export const entryCrc = (h: RecordHeader, i: number): number => h.view.getUint32(entryAt(i) + 16, true)
/** Byte offset of the payload in the record. */
export const entryPayload = (h: RecordHeader, i: number): number => h.view.getUint32(entryAt(i) + 20, true) * SECTOR_BYTES

/** The CRC of each 4 KiB of an entry, by its place in the record: blocks from the record's first byte. */
export type BlockVisitor = (block: number, crc: number) => void

/** Does the entry consist of whole blocks, on the guest's disk and in the record? Only those have sums of their own. */
export const inBlocks = (lba: number, sectors: number, payloadBytes: number): boolean =>
  lba % SECTORS_PER_BLOCK === 0 && sectors % SECTORS_PER_BLOCK === 0 && payloadBytes % BLOCK_BYTES === 0

/** `record`: the whole record, header first. `blocks` is told of blocks before the record is known to be good. */
export function verifyPayload(record: Uint8Array, h: RecordHeader, crc: Crc, blocks?: BlockVisitor): boolean {
  for (let i = 0; i < h.entryCount; i++) {
    if (entryKind(h, i) !== ENTRY.data) continue
    const from = entryPayload(h, i), bytes = entrySectors(h, i) * SECTOR_BYTES
    const sum = blocks !== undefined && inBlocks(entryLba(h, i), entrySectors(h, i), from) ? sumBlocks(record, from, bytes, crc, blocks)
      : crc(record.subarray(from, from + bytes), 0)
    if (sum !== entryCrc(h, i)) return false
  }
  return true
}

function sumBlocks(record: Uint8Array, from: number, bytes: number, crc: Crc, blocks: BlockVisitor): number {
  let sum = 0
  for (let at = from; at < from + bytes; at += BLOCK_BYTES) {
    const own = crc(record.subarray(at, at + BLOCK_BYTES), 0)
    blocks(at / BLOCK_BYTES, own)
    sum = joinBlock(sum, own)
  }
  return sum
}
