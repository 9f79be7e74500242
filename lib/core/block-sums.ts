/**
 * CRC32C of region blocks of 4 KiB, by their place in the region: what a read of one is checked against, whether it
 * is dirty or clean. 4 bytes a block, zeroed by the system and only touched where something was written.
 */
import { BLOCK_BYTES } from './units.js'

/** A block that nothing is known of; the one block in four thousand million whose sum is this is not checked either. */
const UNKNOWN = 0

export class BlockSums {
  readonly #sums: Uint32Array

  constructor(regionBytes: number) { this.#sums = new Uint32Array(Math.ceil(regionBytes / BLOCK_BYTES)) }

  /** Places are blocks from the start of the region. */
  set(place: number, crc: number): void { this.#sums[place] = crc }
  knows(place: number): boolean { return this.#sums[place] !== UNKNOWN }
  matches(place: number, crc: number): boolean { return this.#sums[place] === UNKNOWN || this.#sums[place] === crc }
  get(place: number): number { return this.#sums[place]! }
  forget(place: number, blocks: number): void { this.#sums.fill(UNKNOWN, place, place + blocks) }

  /** The sums of these places themselves, for a checkpoint. */
  slice(place: number, blocks: number): Uint32Array { return this.#sums.subarray(place, place + blocks) }
}
