/**
 * The read cache of a region: clean blocks in segments that no log needs. What a cut has brought to the backing stays
 * where the log put it, and what a read missed is filled in. Segments go first in, first out; blocks that were read
 * since they came are kept by being filled in again (after S3-FIFO), so that nothing is written when one is evicted.
 *
 * What a volume has here is true only as long as this host owns it without a break: `CleanVolume` sees to that.
 */
import type { BlockSums } from '../core/block-sums.js'
import { CleanMap } from '../core/clean-map.js'
import { BLOCK_BYTES } from '../core/units.js'
import { BouncePool } from '../io/bounce.js'
import { limits } from '../limits.js'
import type { FileRegion } from '../region/region.js'
import { segmentOffset } from '../region/layout.js'
import type { CleanSegments, SegmentPool } from '../region/segment-pool.js'

/** Reads a block that was hit once more, and fills it in again; `done` when its place may be used for something else. */
export type KeepBlock = (block: number, place: number, done: () => void) => void

/** A volume whose clean blocks are true as long as its claim is still this one. */
export interface KeptVolume { readonly volume: string; readonly epoch: number; readonly nonce: string; readonly handle: number }

export class CleanCache implements CleanSegments {
  readonly pool: SegmentPool
  readonly map: CleanMap
  readonly sums: BlockSums
  readonly buffers = new BouncePool(limits.fillBuffersMax)
  readonly segmentBlocks: number
  /** Oldest first. */
  #segments: number[] = []
  /** Segments of volumes that were dropped: they go before all others. */
  #dropped: number[] = []
  readonly #keepers = new Map<number, KeepBlock>()
  /** By volume: from a checkpoint, until the volume is owned here. */
  readonly #remembered = new Map<string, KeptVolume>()
  #draining: NodeJS.Immediate | null = null

  constructor(region: FileRegion) {
    this.pool = region.segments
    this.sums = region.sums
    const { segmentBytes, segmentCount } = this.pool
    this.segmentBlocks = segmentBytes / BLOCK_BYTES
    this.map = new CleanMap({ firstBlock: segmentOffset(0, segmentBytes) / BLOCK_BYTES, segmentBlocks: this.segmentBlocks, segmentCount })
    this.pool.clean = this
  }

  get count(): number { return this.#segments.length + this.#dropped.length }

  /** A volume begins; `keep` is for its blocks that were hit. */
  join(keep: KeepBlock): number {
    let handle: number
    do handle = this.map.newHandle()
    while (this.#keepers.has(handle) || [...this.#remembered.values()].some((kept) => kept.handle === handle))
    this.#keepers.set(handle, keep)
    return handle
  }

  /** What an earlier process left of the volume, once: its handle is the caller's then. */
  recall(volume: string, keep: KeepBlock): KeptVolume | null {
    const kept = this.#remembered.get(volume)
    if (kept === undefined) return null
    this.#remembered.delete(volume)
    this.#keepers.set(kept.handle, keep)
    return kept
  }

  /** Oldest first. */
  get segments(): readonly number[] { return this.#segments }

  /** What a checkpoint says: the map was filled in already. Segments that are not free any more, or not named, are forgotten. */
  restore(segments: readonly number[], volumes: readonly KeptVolume[]): void {
    this.#segments = this.pool.takeAgain(segments.filter((index) => this.map.live(index) > 0))
    const known = new Set(this.#segments)
    for (let index = 0; index < this.pool.segmentCount; index++) if (this.map.live(index) > 0 && !known.has(index)) this.map.evict(index)
    for (const kept of volumes) this.#remembered.set(kept.volume, kept)
  }

  /** Nothing of the volume is found any more; its segments go back one by one. */
  drop(handle: number): void {
    this.#keepers.delete(handle)
    this.#dropped.push(...this.#segments.filter((segment) => this.map.handleOf(segment) === handle))
    this.#segments = this.#segments.filter((segment) => this.map.handleOf(segment) !== handle)
    this.#drain()
  }

  /** One at a time: a segment takes most of a millisecond. */
  #drain(): void {
    if (this.#dropped.length === 0 || this.#draining !== null) return
    this.#draining = setImmediate(() => {
      this.#draining = null
      if (this.#dropped.length > 0) this.#evict(this.#dropped.shift()!)
      this.#drain()
    })
  }

  /** Segments of the volume in the cache. */
  segmentsOf(handle: number): number { return this.#segments.reduce((n, segment) => n + (this.map.handleOf(segment) === handle ? 1 : 0), 0) }

  adopt(index: number): boolean {
    const { map } = this, live = map.live(index)
    if (live * limits.cleanShare < this.segmentBlocks || !this.#keepers.has(map.handleOf(index))) {
      map.evict(index)
      return false
    }
    this.#segments.push(index)
    return true
  }

  /** A segment that was filled. */
  filled(index: number): void {
    if (this.#keepers.has(this.map.handleOf(index))) this.#segments.push(index)
    else this.#evict(index)
  }

  reclaim(): boolean {
    const index = this.#dropped.shift() ?? this.#segments.shift()
    if (index === undefined) return false
    this.#evict(index)
    return true
  }

  /** The volume is over its quota: its own oldest goes. */
  reclaimOf(handle: number): void {
    const at = this.#segments.findIndex((segment) => this.map.handleOf(segment) === handle)
    if (at >= 0) this.#evict(this.#segments.splice(at, 1)[0]!)
  }

  #evict(index: number): void {
    const keep = this.#keepers.get(this.map.handleOf(index))
    const hot: number[] = []
    this.map.evict(index, keep === undefined ? undefined : (block, place) => { if (hot.length < (2 * this.segmentBlocks) / limits.keptShare) hot.push(block, place) })
    if (hot.length === 0 || keep === undefined) { this.pool.release(index); return }
    // The segment is used again when all that is kept of it was read.
    const pin = this.pool.pin()
    let left = hot.length / 2
    this.pool.release(index)
    const done = (): void => { if (--left === 0) this.pool.unpin(pin) }
    for (let i = 0; i < hot.length; i += 2) keep(hot[i]!, hot[i + 1]!, done)
  }

  /** Nothing is brought in or kept any more. */
  quiesce(): void {
    this.#keepers.clear()
    if (this.#draining !== null) clearImmediate(this.#draining)
  }

  /** Nothing was found that can be believed. */
  clear(): void {
    this.map.clear()
    this.sums.forget(0, segmentOffset(this.pool.segmentCount, this.pool.segmentBytes) / BLOCK_BYTES)
  }

  close(): void {
    this.quiesce()
    this.pool.clean = null
    this.buffers.close()
  }
}
