/** Aligned memory of ours for reads that may not, or cannot, go straight into guest memory. Fixed in number. */
import { AlignedMemory } from './memory.js'
import { limits } from '../limits.js'
import { BLOCK_BYTES } from '../core/units.js'

/** A piece of up to readBytesMax at any 512-byte offset, widened to block borders on both sides. */
export const BOUNCE_BYTES = limits.readBytesMax + 2 * BLOCK_BYTES

export class BouncePool {
  readonly #all: AlignedMemory[] = []
  readonly #free: AlignedMemory[] = []
  readonly #max: number

  constructor(max: number) { this.#max = max }

  /** Undefined when all are in use: wait for one to come back. */
  take(): AlignedMemory | undefined {
    const free = this.#free.pop()
    if (free !== undefined || this.#all.length === this.#max) return free
    const fresh = new AlignedMemory(BOUNCE_BYTES)
    this.#all.push(fresh)
    return fresh
  }

  give(memory: AlignedMemory): void { this.#free.push(memory) }

  close(): void { for (const memory of this.#all) memory.free() }
}
