/**
 * The map of the read cache: which 4 KiB blocks of which volumes lie where in the region although no log holds them
 * any more. One for a region, sized for all of it at once and never grown: the system gives memory to the parts that
 * are used. An open-addressing hash holds places only; the key of a place is kept by the place itself (`#guest`, and
 * the handle of its segment), so that a stale entry cannot be taken for another block: 4 / 0.77 bytes of hash, 4 of key
 * and 1 of hits for each block.
 *
 * A volume is known by a handle. Dropping a volume takes it another handle and costs nothing; what the old one still
 * has goes with its segments.
 */
import { assert } from './assert.js'

const SLOTS_PER_BLOCK = 1.3
const TWO_32 = 0x1_0000_0000
const HITS_MAX = 3
const HANDLES = 0x1_0000

export interface RegionShape {
  /** Blocks before the first segment. */
  readonly firstBlock: number
  readonly segmentBlocks: number
  readonly segmentCount: number
}

export class CleanMap {
  readonly #shape: RegionShape
  /** Place + 1, or 0: nothing. */
  readonly #slots: Uint32Array
  /** By place, from the first segment on: guest block + 1, or 0. */
  readonly #guest: Uint32Array
  readonly #hits: Uint8Array
  /** By segment. 0: no entry. */
  readonly #handle: Uint16Array
  readonly #live: Uint32Array
  #count = 0
  #lastHandle = 0

  constructor(shape: RegionShape) {
    this.#shape = shape
    const blocks = shape.segmentBlocks * shape.segmentCount
    assert(blocks < TWO_32 - 1, 'places are 32-bit numbers')
    this.#slots = new Uint32Array(Math.ceil(blocks * SLOTS_PER_BLOCK) + 1)
    this.#guest = new Uint32Array(blocks)
    this.#hits = new Uint8Array(blocks)
    this.#handle = new Uint16Array(shape.segmentCount)
    this.#live = new Uint32Array(shape.segmentCount)
  }

  /** Blocks in it. */
  get count(): number { return this.#count }
  live(segment: number): number { return this.#live[segment]! }
  handleOf(segment: number): number { return this.#handle[segment]! }

  /** A handle that no entry has. */
  newHandle(): number {
    do this.#lastHandle = this.#lastHandle + 1 === HANDLES ? 1 : this.#lastHandle + 1
    while (this.#handle.includes(this.#lastHandle))
    return this.#lastHandle
  }

  #segmentOf(place: number): number { return Math.floor(place / this.#shape.segmentBlocks) }

  #home(handle: number, block: number): number {
    const hash = (Math.imul(block, 0x9e3779b1) ^ Math.imul(handle, 0x85ebca6b)) >>> 0
    return Math.floor((hash * this.#slots.length) / TWO_32)
  }

  /** The slot of the block, or the empty one where it would be. */
  #slotOf(handle: number, block: number): number {
    const slots = this.#slots, guest = this.#guest
    for (let slot = this.#home(handle, block); ; slot = slot + 1 === slots.length ? 0 : slot + 1) {
      const place = slots[slot]! - 1
      if (place < 0 || (guest[place] === block + 1 && this.#handle[this.#segmentOf(place)] === handle)) return slot
    }
  }

  /** Where the block is, in blocks from the start of the region, or -1. */
  find(handle: number, block: number): number {
    const place = this.#slots[this.#slotOf(handle, block)]! - 1
    return place < 0 ? -1 : place + this.#shape.firstBlock
  }

  /** Somebody read the block at this place. */
  hit(at: number): void {
    const place = at - this.#shape.firstBlock
    if (this.#hits[place]! < HITS_MAX) this.#hits[place]!++
  }

  /** The block is at this place now, and nowhere else. What another handle had in the place's segment is forgotten. */
  put(handle: number, block: number, at: number): void {
    const place = at - this.#shape.firstBlock, segment = this.#segmentOf(place)
    if (this.#handle[segment] !== handle) {
      this.evict(segment)
      this.#handle[segment] = handle
    }
    if (this.#guest[place] === block + 1) return
    if (this.#guest[place] !== 0) this.#erase(this.#slotOf(handle, this.#guest[place]! - 1))
    const slot = this.#slotOf(handle, block), before = this.#slots[slot]! - 1
    if (before >= 0) this.#empty(before)
    this.#slots[slot] = place + 1
    this.#guest[place] = block + 1
    this.#hits[place] = 0
    this.#live[segment]!++
    this.#count++
  }

  remove(handle: number, block: number): void {
    if (this.#count === 0) return
    const slot = this.#slotOf(handle, block)
    if (this.#slots[slot] !== 0) this.#erase(slot)
  }

  /** Forgets all that is in a segment; `hot` is told of what was read since it came here. */
  evict(segment: number, hot?: (block: number, at: number) => void): void {
    const { segmentBlocks, firstBlock } = this.#shape, handle = this.#handle[segment]!
    const first = segment * segmentBlocks
    for (let place = first; this.#live[segment]! > 0 && place < first + segmentBlocks; place++) {
      const block = this.#guest[place]! - 1
      if (block < 0) continue
      if (this.#hits[place]! > 0) hot?.(block, place + firstBlock)
      this.#erase(this.#slotOf(handle, block))
    }
    this.#handle[segment] = 0
  }

  #empty(place: number): void {
    this.#guest[place] = 0
    this.#live[this.#segmentOf(place)]!--
    this.#count--
  }

  /** Entries behind the hole move up, so that no search ends before it should. */
  #erase(slot: number): void {
    const slots = this.#slots
    this.#empty(slots[slot]! - 1)
    let hole = slot
    for (let at = slot; ;) {
      at = at + 1 === slots.length ? 0 : at + 1
      const place = slots[at]! - 1
      if (place < 0) break
      const home = this.#home(this.#handle[this.#segmentOf(place)]!, this.#guest[place]! - 1)
      const reachable = hole <= at ? home > hole && home <= at : home > hole || home <= at
      if (reachable) continue
      slots[hole] = slots[at]!
      hole = at
    }
    slots[hole] = 0
  }

  // --- a copy of it for the next start ---------------------------------------------------------------------------------------

  /** Its parts as they are in memory; they mean something to a map of the same shape only. */
  parts(): Uint8Array[] {
    return [this.#slots, this.#guest, this.#handle, this.#live].map((part) => new Uint8Array(part.buffer))
  }

  /** Nothing is in it. */
  clear(): void {
    for (const part of [this.#slots, this.#guest, this.#hits, this.#handle, this.#live]) part.fill(0)
    this.#count = 0
  }

  /** The parts were filled from outside. */
  adoptParts(): void {
    this.#count = this.#live.reduce((sum, live) => sum + live, 0)
  }
}
