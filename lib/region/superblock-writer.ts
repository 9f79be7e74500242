import { assert } from '../core/assert.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { crc } from '../io/crc.js'
import { decodeSuperblock, encodeSuperblock, type Superblock } from './layout.js'
import type { SegmentPool } from './segment-pool.js'

/**
 * Writes the slots in turn, power-safe, one write at a time; calls that come meanwhile share the next one.
 *
 * A power cut can tear only the slot that is being written, and the other one is the state before it, which nobody was
 * told to be replaced. A slot that goes bad later would take the newest state back by one save. For a base that is
 * harmless (what lies above it is destaged once more), for a seal it is a broken promise: seals go into both slots.
 * After a failed write the pool refuses every other one, so the good slot is never written over (H5).
 */
export class SuperblockWriter {
  readonly #pool: SegmentPool
  readonly #superblock: Superblock
  readonly #memory = new AlignedMemory(limits.superblockBytes)
  #running: Promise<void> | null = null
  #next: Promise<void> | null = null
  #both = false

  constructor(pool: SegmentPool, superblock: Superblock) {
    this.#pool = pool
    this.#superblock = superblock
  }

  /** Resolves when the superblock as it is now is power-safe; with `both` in both slots. */
  save(both: boolean): Promise<void> {
    this.#both ||= both
    if (this.#running === null) {
      this.#running = this.#write().finally(() => { this.#running = null })
      return this.#running
    }
    this.#next ??= this.#running.catch(() => undefined).then(() => {
      this.#next = null
      return this.save(false)
    })
    return this.#next
  }

  async #write(): Promise<void> {
    const both = this.#both
    this.#both = false
    await this.#writeSlot()
    if (both) await this.#writeSlot()
  }

  async #writeSlot(): Promise<void> {
    const sb = this.#superblock
    sb.generation++
    const length = encodeSuperblock(sb, this.#memory.bytes, crc)
    assert(typeof decodeSuperblock(this.#memory.bytes, crc) === 'object', 'a superblock that is written can be read')
    const offset = (sb.generation % 2) * limits.superblockBytes
    await operation((target) => this.#pool.write(this.#memory.address, length, offset, true, target, 0))
  }

  /** No save may begin from here on. */
  async close(): Promise<void> {
    await (this.#next ?? this.#running)?.catch(() => undefined)
    this.#memory.free()
  }
}
