/**
 * The cut journal's bytes: a header block, the payloads in the order of the entries, and the table of entries behind
 * them. Byte tables: docs/format.md.
 */
import { assert } from './assert.js'
import { getHex, getU64, ownChecksumHolds, putHex, putU64, uuidOf, type Crc } from './record.js'
import { BLOCK_BYTES, GUEST_SECTORS_MAX, epoch, roundUp, won, type Epoch, type Won } from './units.js'

export const JOURNAL_VERSION = 1
const MAGIC = 0x4a464448 // "HDFJ"
export const JOURNAL_HEADER_BYTES = BLOCK_BYTES
export const JOURNAL_ENTRY_BYTES = 32

export const JOURNAL_STATE = { complete: 1, retired: 2 } as const
export type JournalState = (typeof JOURNAL_STATE)[keyof typeof JOURNAL_STATE]
export const JOURNAL_KIND = { data: 1, zero: 2 } as const

export interface JournalHeader {
  /** UUID of the volume. */
  readonly volume: string
  /** Raised by one with every cut: of two slots the higher one counts. */
  readonly sequence: number
  readonly epoch: Epoch
  /** The backing was exactly the disk as of `base`, or at a mixture with an earlier journal's cut. */
  readonly base: Won
  readonly cut: Won
  readonly entryCount: number
  /** Byte of the slot at which the table begins. */
  readonly tableOffset: number
  readonly tableCrc: number
  readonly state: JournalState
  /** The common cut of a VM's disks that it belongs to, 32 hexadecimal digits; null: it is of this disk alone. */
  readonly round: string | null
  /** That of the cut before. */
  readonly previousRound: string | null
}

export interface JournalEntry {
  /** First sector (512 B) on the guest's disk. */
  readonly lba: number
  readonly sectors: number
  readonly kind: number
  /** Byte of the slot at which the payload begins; 0 for zeros. */
  readonly offsetBytes: number
  readonly crc: number
}

export const tableBytes = (entryCount: number): number => roundUp(entryCount * JOURNAL_ENTRY_BYTES, BLOCK_BYTES)

const NO_ROUND = '0'.repeat(32)
function roundOf(bytes: Uint8Array, at: number): string | null {
  const round = getHex(bytes, at)
  return round === NO_ROUND ? null : round
}

export function encodeJournalHeader(header: JournalHeader, out: Uint8Array, crc: Crc): void {
  const view = new DataView(out.buffer, out.byteOffset, JOURNAL_HEADER_BYTES)
  out.fill(0, 0, JOURNAL_HEADER_BYTES)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, JOURNAL_VERSION, true)
  view.setUint32(12, header.tableCrc, true)
  putHex(out, 16, header.volume)
  putU64(view, 32, header.sequence)
  putU64(view, 40, header.epoch)
  putU64(view, 48, header.base)
  putU64(view, 56, header.cut)
  putU64(view, 64, header.tableOffset)
  view.setUint32(72, header.entryCount, true)
  view.setUint32(76, header.state, true)
  putHex(out, 80, header.round ?? NO_ROUND)
  putHex(out, 96, header.previousRound ?? NO_ROUND)
  view.setUint32(8, crc(out.subarray(0, JOURNAL_HEADER_BYTES), 0), true)
}

/** 'newer': written by a newer version, which must not be touched. Null: no header, or one that was cut off. */
export function parseJournalHeader(bytes: Uint8Array, crc: Crc): JournalHeader | 'newer' | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, JOURNAL_HEADER_BYTES)
  if (view.getUint32(0, true) !== MAGIC) return null
  if (!ownChecksumHolds(bytes, JOURNAL_HEADER_BYTES, crc)) return null
  if (view.getUint32(4, true) > JOURNAL_VERSION) return 'newer'
  const state = view.getUint32(76, true)
  const header = {
    volume: uuidOf(getHex(bytes, 16)), sequence: getU64(view, 32), epoch: epoch(getU64(view, 40)), base: won(getU64(view, 48)),
    cut: won(getU64(view, 56)), tableOffset: getU64(view, 64), entryCount: view.getUint32(72, true), tableCrc: view.getUint32(12, true),
    round: roundOf(bytes, 80), previousRound: roundOf(bytes, 96),
  }
  if (state !== JOURNAL_STATE.complete && state !== JOURNAL_STATE.retired) return null
  // A number beyond 2^53 reads as NaN.
  if (!(header.sequence > 0 && header.epoch > 0 && header.base <= header.cut && header.tableOffset >= JOURNAL_HEADER_BYTES)) return null
  return { ...header, state }
}

export function encodeJournalTable(entries: readonly JournalEntry[], out: Uint8Array): void {
  assert(out.length === tableBytes(entries.length), 'the table fills its blocks')
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  out.fill(0)
  entries.forEach((entry, i) => {
    const at = i * JOURNAL_ENTRY_BYTES
    putU64(view, at, entry.lba)
    putU64(view, at + 8, entry.offsetBytes)
    view.setUint32(at + 16, entry.sectors, true)
    view.setUint32(at + 20, entry.crc, true)
    view.setUint32(at + 24, entry.kind, true)
  })
}

/** Null when the entry is none that was ever written. */
export function parseJournalEntry(table: Uint8Array, index: number): JournalEntry | null {
  const at = index * JOURNAL_ENTRY_BYTES, view = new DataView(table.buffer, table.byteOffset, table.byteLength)
  const lba = getU64(view, at), offsetBytes = getU64(view, at + 8), kind = view.getUint32(at + 24, true)
  const sectors = view.getUint32(at + 16, true)
  if (!(lba + sectors <= GUEST_SECTORS_MAX) || !(offsetBytes >= 0) || sectors === 0) return null
  if (kind !== JOURNAL_KIND.data && kind !== JOURNAL_KIND.zero) return null
  return { lba, offsetBytes, sectors, crc: view.getUint32(at + 20, true), kind }
}
