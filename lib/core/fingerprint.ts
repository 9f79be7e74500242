/**
 * How a backing is recognised: what of it is looked at, and what two looks at it prove. Two questions, two answers.
 *
 * Was it changed after a clean stop (H63)? The fingerprint in the released claim: size, time of the last change, and
 * checksums at fixed places. With nothing dirty another image is simply the truth.
 *
 * Is it the one that the dirty data belongs to (H64)? What the last cut wrote at a few places, kept beside base. A place
 * that dirty data covers proves nothing: a cut that was under way may have written there. Any other one must be as it was.
 */
import type { Claim } from './claim.js'
import { BLOCK_BYTES } from './units.js'

/** Blocks of a fingerprint, the first and the last among them. */
export const FINGERPRINT_BLOCKS = 66
/** Places of a cut that are remembered; they have to fit into the volume's entry of a superblock. */
export const CUT_SAMPLES = 6

/** What a cut left at up to eight sectors. */
export interface BlockSample { readonly lba: number; readonly sectors: number; readonly crc: number }

export interface Fingerprint {
  readonly sizeBytes: number
  /** Null where it means nothing: block devices, and what QEMU opens. */
  readonly modifiedMs: number | null
  /** CRC32C at each of `fingerprintPlaces(sizeBytes)`, eight hexadecimal digits each. */
  readonly blocks: string
}

/** Byte offsets of the blocks that are looked at, in order. */
export function fingerprintPlaces(sizeBytes: number): number[] {
  const blocks = Math.floor(sizeBytes / BLOCK_BYTES), count = Math.min(blocks, FINGERPRINT_BLOCKS)
  return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.floor((i * (blocks - 1)) / (count - 1))) * BLOCK_BYTES)
}

const DIGITS = 8
export const checksumText = (crc: number): string => crc.toString(16).padStart(DIGITS, '0')

/** In words for people. A time alone may be a backup tool's or a careless touch; but samples are only samples. */
export interface FingerprintDifference { readonly content: readonly string[]; readonly time: string | null; readonly blocks: number }

/** Both looks were at the places of the earlier size. */
export function fingerprintDifference(before: Fingerprint, now: Fingerprint): FingerprintDifference {
  const blocks = before.blocks.length / DIGITS, { modifiedMs: then } = before, { modifiedMs } = now
  let other = 0
  for (let at = 0; at < before.blocks.length; at += DIGITS) if (before.blocks.slice(at, at + DIGITS) !== now.blocks.slice(at, at + DIGITS)) other++
  return {
    blocks,
    content: [
      ...(before.sizeBytes === now.sizeBytes ? [] : [`it had ${before.sizeBytes} bytes and has ${now.sizeBytes}`]),
      ...(other === 0 ? [] : [`${other} of ${blocks} sampled blocks are others`]),
    ],
    time: then === null || modifiedMs === null || then === modifiedMs ? null : `it was last modified at ${timeText(modifiedMs)} and not at ${timeText(then)}`,
  }
}

/** Any number may come from a claim. */
const timeText = (ms: number): string => Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`

/** Are all records between base and the start of this epoch in inherited logs? Else something unseen may be on the backing. */
export function logsAreComplete(claim: Claim): boolean {
  let end: number = claim.base
  for (const log of claim.inherited) {
    if (log.start > end) return false
    end = Math.max(end, log.start + log.kept)
  }
  return end >= claim.start
}

/** Collects the samples of one cut: evenly over its writes, however many they are, and only what is its last word at a place. */
export class CutSampler {
  readonly #crc: (bytes: Uint8Array, seed: number) => number
  #kept: BlockSample[] = []
  #stride = 1
  #seen = 0

  constructor(crc: (bytes: Uint8Array, seed: number) => number) { this.#crc = crc }

  get samples(): readonly BlockSample[] { return this.#kept }

  reset(): void {
    this.#kept = []
    this.#stride = 1
    this.#seen = 0
  }

  data(lba: number, sectors: number, bytes: Uint8Array): void {
    this.zero(lba, sectors)
    const nth = this.#seen++
    if (this.#kept.length === CUT_SAMPLES) {
      this.#kept = this.#kept.filter((_, i) => i % 2 === 0)
      this.#stride *= 2
    }
    if (nth % this.#stride !== 0) return
    const taken = Math.min(SAMPLE_SECTORS_MAX, sectors)
    this.#kept.push({ lba, sectors: taken, crc: this.#crc(bytes.subarray(0, taken * 512), 0) })
  }

  /** What was there is gone. Zeros themselves are no sample: much of many images is zero. */
  zero(lba: number, sectors: number): void {
    if (this.#kept.some((s) => s.lba < lba + sectors && lba < s.lba + s.sectors)) {
      this.#kept = this.#kept.filter((s) => s.lba >= lba + sectors || lba >= s.lba + s.sectors)
    }
  }
}

export const SAMPLE_SECTORS_MAX = BLOCK_BYTES / 512
