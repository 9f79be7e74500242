/**
 * What is where in a region: two superblock slots that are written in turn, then segments of equal size, each with a
 * header block of its own. Byte tables: docs/format.md.
 */
import { assert } from '../core/assert.js'
import { CUT_SAMPLES, SAMPLE_SECTORS_MAX, type BlockSample } from '../core/fingerprint.js'
import { REGION_SECTORS_MAX } from '../core/index-layer.js'
import { getHex, getU64, ownChecksumHolds, putHex, putU64, uuidOf, type Crc } from '../core/record.js'
import { SECTOR_BYTES, epoch, won, type Epoch, type Won } from '../core/units.js'
import { limits } from '../limits.js'

export const REGION_VERSION = 1
const SUPERBLOCK_MAGIC = 0x53464448 // "HDFS"
const SEGMENT_MAGIC = 0x47464448 // "HDFG"
const FILL_MAGIC = 0x46464448 // "HDFF"
export const SEGMENT_HEADER_BYTES = 4096
const VOLUME_AT = 4096
const VOLUME_BYTES = 128
const SAMPLES_AT = 32
const SAMPLE_BYTES = 12
const HOST_BYTES = 64
const NO_BOOT = '0'.repeat(32)

export interface VolumeEntry { readonly volume: string; sealed: Epoch; base: Won; samples: readonly BlockSample[] }

export interface Superblock {
  readonly incarnation: string
  readonly host: string
  readonly segmentBytes: number
  readonly segmentCount: number
  readonly createdMs: number
  /** Raised by one with every write; the higher valid slot counts. */
  generation: number
  readonly volumes: Map<string, VolumeEntry>
  /** Of the machine, while the region is open; null after a clean close: everything in it is power-safe. */
  boot: string | null
  powerLosses: number
  /** What a clean stop left of the read cache; null while anything may be written. */
  checkpoint: CheckpointPlace | null
}

/** Its first segment, and a number that all of its segments carry. */
export interface CheckpointPlace { readonly segment: number; readonly id: number }

export const segmentOffset = (index: number, segmentBytes: number): number => 2 * limits.superblockBytes + index * segmentBytes
export const regionMinBytes = (segmentBytes: number): number => segmentOffset(2, segmentBytes)
/** What the index can address. */
export const REGION_BYTES_MAX = REGION_SECTORS_MAX * SECTOR_BYTES

/** Bytes of a slot that are in use: the header block and as many volumes as there are, in whole blocks. */
const superblockLength = (sb: Superblock): number => VOLUME_AT + Math.ceil((sb.volumes.size * VOLUME_BYTES) / 4096) * 4096

export function encodeSuperblock(sb: Superblock, out: Uint8Array, crc: Crc): number {
  const length = superblockLength(sb)
  assert(length <= limits.superblockBytes && sb.volumes.size <= limits.regionVolumesMax, 'the volume table fits its slot')
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  out.fill(0, 0, length)
  view.setUint32(0, SUPERBLOCK_MAGIC, true)
  view.setUint32(4, REGION_VERSION, true)
  view.setUint32(12, length, true)
  putU64(view, 16, sb.generation)
  putHex(out, 24, sb.incarnation)
  putU64(view, 40, sb.segmentBytes)
  putU64(view, 48, sb.segmentCount)
  putU64(view, 56, sb.createdMs)
  view.setUint32(64, sb.volumes.size, true)
  view.setUint32(68, sb.checkpoint === null ? 0 : sb.checkpoint.segment + 1, true)
  view.setUint32(72, sb.checkpoint?.id ?? 0, true)
  view.setUint32(76, sb.powerLosses, true)
  if (sb.boot !== null) putHex(out, 80, sb.boot)
  const host = new TextEncoder().encode(sb.host)
  assert(host.length < HOST_BYTES, 'a host name fits')
  out.set(host, 128)
  let at = VOLUME_AT
  for (const entry of sb.volumes.values()) {
    putHex(out, at, entry.volume)
    putU64(view, at + 16, entry.sealed)
    putU64(view, at + 24, entry.base)
    putSamples(view, at + SAMPLES_AT, entry.samples)
    at += VOLUME_BYTES
  }
  view.setUint32(8, crc(out.subarray(0, length), 0), true)
  return length
}

/** Place and length share a number, which is 0 where there is no sample: a superblock that knows of none has none. */
function putSamples(view: DataView, at: number, samples: readonly BlockSample[]): void {
  assert(samples.length <= CUT_SAMPLES && SAMPLES_AT + CUT_SAMPLES * SAMPLE_BYTES <= VOLUME_BYTES, 'samples fit their entry')
  for (const [i, { lba, sectors, crc }] of samples.entries()) {
    putU64(view, at + i * SAMPLE_BYTES, lba * 16 + sectors)
    view.setUint32(at + i * SAMPLE_BYTES + 8, crc, true)
  }
}

function getSamples(view: DataView, at: number): BlockSample[] {
  const samples: BlockSample[] = []
  for (let i = 0; i < CUT_SAMPLES; i++, at += SAMPLE_BYTES) {
    const place = getU64(view, at), sectors = place % 16
    if (sectors >= 1 && sectors <= SAMPLE_SECTORS_MAX) samples.push({ lba: Math.floor(place / 16), sectors, crc: view.getUint32(at + 8, true) })
  }
  return samples
}

function isZero(view: DataView): boolean {
  for (let at = 0; at < view.byteLength; at += 8) if (view.getUint32(at, true) !== 0 || view.getUint32(at + 4, true) !== 0) return false
  return true
}

export type SuperblockProblem = 'empty' | 'foreign' | 'damaged' | 'newer'

/** `bytes`: a whole slot. Foreign data may begin anywhere in it (md keeps its superblock at 4 KiB, btrfs at 64 KiB). */
export function decodeSuperblock(bytes: Uint8Array, crc: Crc): Superblock | SuperblockProblem {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== SUPERBLOCK_MAGIC) return isZero(view) ? 'empty' : 'foreign'
  const length = view.getUint32(12, true)
  if (length < VOLUME_AT || length > limits.superblockBytes || length % 4096 !== 0) return 'damaged'
  if (!ownChecksumHolds(bytes, length, crc)) return 'damaged'
  if (view.getUint32(4, true) > REGION_VERSION) return 'newer'
  const volumes = new Map<string, VolumeEntry>()
  const count = view.getUint32(64, true)
  if (VOLUME_AT + count * VOLUME_BYTES > length) return 'damaged'
  for (let i = 0, at = VOLUME_AT; i < count; i++, at += VOLUME_BYTES) {
    const volume = uuidOf(getHex(bytes, at))
    volumes.set(volume, { volume, sealed: epoch(getU64(view, at + 16)), base: won(getU64(view, at + 24)), samples: getSamples(view, at + SAMPLES_AT) })
  }
  const boot = getHex(bytes, 80)
  const host = new TextDecoder().decode(bytes.subarray(128, 128 + HOST_BYTES)).replace(/\0.*$/s, '')
  return {
    incarnation: getHex(bytes, 24), host, segmentBytes: getU64(view, 40), segmentCount: getU64(view, 48), createdMs: getU64(view, 56),
    generation: getU64(view, 16), volumes, boot: boot === NO_BOOT ? null : boot, powerLosses: view.getUint32(76, true),
    checkpoint: view.getUint32(68, true) === 0 ? null : { segment: view.getUint32(68, true) - 1, id: view.getUint32(72, true) },
  }
}

export interface SegmentHeader {
  readonly incarnation: string
  readonly index: number
  /** One sequence over the region: raised each time a segment is taken into use. */
  readonly useSequence: number
  readonly volume: string
  readonly epoch: Epoch
  readonly start: Won
  readonly nonce: string
  /** Position of this segment in its log, from 0. */
  readonly ordinal: number
  readonly firstWon: Won
  /** CRC of the header of the record before the first one here; 0 when there is none. */
  readonly previousHeaderCrc: number
  /** Tombstone: this log was deleted when this was the newest use sequence; 0 while it lives. */
  readonly deletedUse: number
  /** Of a log that was copied here after it had been sealed: how long it is says the claim, not what its records vouch for. */
  readonly copied: boolean
}

/**
 * All fields lie in the first 512 bytes and the rest is zero: a header that is written over another one, as a tombstone
 * is, is after a power cut either the old or the new one, because no device tears a sector.
 */
export function encodeSegmentHeader(h: SegmentHeader, out: Uint8Array, crc: Crc): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  out.fill(0, 0, SEGMENT_HEADER_BYTES)
  view.setUint32(0, SEGMENT_MAGIC, true)
  view.setUint32(4, REGION_VERSION, true)
  view.setUint32(12, h.index, true)
  putHex(out, 16, h.incarnation)
  putHex(out, 32, h.volume)
  putHex(out, 48, h.nonce)
  putU64(view, 64, h.useSequence)
  putU64(view, 72, h.epoch)
  putU64(view, 80, h.start)
  putU64(view, 88, h.firstWon)
  view.setUint32(96, h.ordinal, true)
  view.setUint32(100, h.previousHeaderCrc, true)
  putU64(view, 104, h.deletedUse)
  view.setUint32(112, h.copied ? 1 : 0, true)
  view.setUint32(8, crc(out.subarray(0, SEGMENT_HEADER_BYTES), 0), true)
}

/** 'none': never used, or not what was written there; whether that loses anything is for the scan to find out. */
export function decodeSegmentHeader(bytes: Uint8Array, crc: Crc): SegmentHeader | 'none' | 'newer' {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== SEGMENT_MAGIC) return 'none'
  if (!ownChecksumHolds(bytes, SEGMENT_HEADER_BYTES, crc)) return 'none'
  if (view.getUint32(4, true) > REGION_VERSION) return 'newer'
  return {
    incarnation: getHex(bytes, 16), index: view.getUint32(12, true), useSequence: getU64(view, 64), volume: uuidOf(getHex(bytes, 32)),
    epoch: epoch(getU64(view, 72)), start: won(getU64(view, 80)), nonce: getHex(bytes, 48), ordinal: view.getUint32(96, true),
    firstWon: won(getU64(view, 88)), previousHeaderCrc: view.getUint32(100, true), deletedUse: getU64(view, 104), copied: view.getUint32(112, true) === 1,
  }
}

/** A segment of the read cache: what is in it is known to the process that filled it only, and no log of an earlier use is here any more. */
export function encodeFillHeader(incarnation: string, index: number, part: CheckpointPart | null, out: Uint8Array, crc: Crc): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  out.fill(0, 0, SEGMENT_HEADER_BYTES)
  view.setUint32(0, FILL_MAGIC, true)
  view.setUint32(4, REGION_VERSION, true)
  view.setUint32(12, index, true)
  putHex(out, 16, incarnation)
  if (part !== null) {
    view.setUint32(32, part.id, true)
    view.setUint32(36, part.next === null ? 0 : part.next + 1, true)
    view.setUint32(40, part.lengthBytes, true)
    view.setUint32(44, part.crc, true)
  }
  view.setUint32(8, crc(out.subarray(0, SEGMENT_HEADER_BYTES), 0), true)
}

/** What a segment has of a checkpoint, behind its header. */
export interface CheckpointPart { readonly id: number; readonly next: number | null; readonly lengthBytes: number; readonly crc: number }

/** Null for anything but the part of this checkpoint in this segment. */
export function decodeCheckpointPart(bytes: Uint8Array, incarnation: string, index: number, id: number, crc: Crc): CheckpointPart | null {
  if (!isFillHeader(bytes, crc) || getHex(bytes, 16) !== incarnation) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), next = view.getUint32(36, true)
  if (view.getUint32(12, true) !== index || view.getUint32(32, true) !== id) return null
  return { id, next: next === 0 ? null : next - 1, lengthBytes: view.getUint32(40, true), crc: view.getUint32(44, true) }
}

export function isFillHeader(bytes: Uint8Array, crc: Crc): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return view.getUint32(0, true) === FILL_MAGIC && ownChecksumHolds(bytes, SEGMENT_HEADER_BYTES, crc)
}
