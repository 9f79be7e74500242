/**
 * Brings blocks of one volume into the read cache: they are collected in a buffer, written to a segment together, and
 * found there when the write has ended. Nobody waits for it, so whatever is in the way (no buffer, no segment to spare,
 * a batch under way) only means that a block is not cached.
 */
import { BLOCK_BYTES } from '../core/units.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { SEGMENT_HEADER_BYTES, encodeFillHeader, segmentOffset } from '../region/layout.js'
import { native, GATHER_CELLS } from 'vhost-user-ts-bindings'
import type { CleanCache } from './clean-cache.js'

interface Batch { readonly memory: AlignedMemory; readonly blocks: number[]; readonly sums: number[]; readonly stamps: number[] }
interface OpenSegment { readonly index: number; usedBlocks: number }

const BATCH_BLOCKS = limits.readBytesMax / BLOCK_BYTES
const HEADER_BLOCKS = SEGMENT_HEADER_BYTES / BLOCK_BYTES

export interface FillShell {
  readonly cache: CleanCache
  handle(): number
  /** May a block that was read at this stamp still be believed? */
  current(stamp: number): boolean
  /** May the volume have another segment of the region? */
  mayTake(): boolean
}

export class FillWriter {
  readonly #shell: FillShell
  readonly #copy = new Float64Array(GATHER_CELLS)
  #batch: Batch | null = null
  #writing: Promise<void> | null = null
  #segment: OpenSegment | null = null
  filledBytes = 0

  constructor(shell: FillShell) { this.#shell = shell }

  /** It has begun a segment. */
  get open(): boolean { return this.#segment !== null }


  /** Copies the block at `address`. */
  add(block: number, address: number, stamp: number): void {
    const batch = this.#batch ?? this.#begin()
    if (batch === null) return
    this.#copy[0] = address
    this.#copy[1] = batch.memory.address + batch.blocks.length * BLOCK_BYTES
    this.#copy[2] = BLOCK_BYTES
    native.gather(this.#copy, 1)
    batch.blocks.push(block)
    batch.sums.push(this.#copy[3]!)
    batch.stamps.push(stamp)
    if (batch.blocks.length === BATCH_BLOCKS) this.flush()
  }

  #begin(): Batch | null {
    // One is written, and nothing more is collected before that has ended.
    const memory = this.#writing !== null ? undefined : this.#shell.cache.buffers.take()
    this.#batch = memory === undefined ? null : { memory, blocks: [], sums: [], stamps: [] }
    return this.#batch
  }

  /** Writes what was collected. */
  flush(): void {
    const batch = this.#batch
    if (batch === null || this.#writing !== null) return
    this.#batch = null
    this.#writing = this.#write(batch).catch(() => this.#leave()).finally(() => {
      this.#shell.cache.buffers.give(batch.memory)
      this.#writing = null
    })
  }

  async #write(batch: Batch): Promise<void> {
    const { cache } = this.#shell, { pool } = cache, count = batch.blocks.length
    const segment = await this.#room(count)
    if (segment === null) return
    const at = segmentOffset(segment.index, pool.segmentBytes) + segment.usedBlocks * BLOCK_BYTES
    segment.usedBlocks += count
    await operation((target) => pool.write(batch.memory.address, count * BLOCK_BYTES, at, false, target, 0))
    this.filledBytes += count * BLOCK_BYTES
    const handle = this.#shell.handle()
    for (let i = 0; i < count; i++) {
      if (!this.#shell.current(batch.stamps[i]!)) continue
      const place = at / BLOCK_BYTES + i
      cache.sums.set(place, batch.sums[i]!)
      cache.map.put(handle, batch.blocks[i]!, place)
    }
  }

  /** The header comes first, and its write has ended before anything of the segment's last use is written over. */
  async #room(blocks: number): Promise<OpenSegment | null> {
    const { pool, segmentBlocks } = this.#shell.cache
    if (this.#segment !== null && this.#segment.usedBlocks + blocks > segmentBlocks) this.#leave()
    if (this.#segment !== null) return this.#segment
    const index = this.#shell.mayTake() ? pool.takeSpare() : null
    if (index === null) return null
    this.#segment = { index, usedBlocks: HEADER_BLOCKS }
    const memory = new AlignedMemory(SEGMENT_HEADER_BYTES)
    try {
      encodeFillHeader(pool.incarnation, index, null, memory.bytes, crc)
      await operation((target) => pool.write(memory.address, SEGMENT_HEADER_BYTES, segmentOffset(index, pool.segmentBytes), true, target, 0))
    } finally {
      memory.free()
    }
    return this.#segment
  }

  #leave(): void {
    const left = this.#segment
    this.#segment = null
    if (left !== null) this.#shell.cache.filled(left.index)
  }

  /** What was collected, and the segment, are given up; resolves when no write is under way. */
  async close(): Promise<void> {
    if (this.#batch !== null) this.#shell.cache.buffers.give(this.#batch.memory)
    this.#batch = null
    await this.#writing
    this.#leave()
  }
}

