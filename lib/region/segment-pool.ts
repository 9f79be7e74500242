/** The region's segments: which are free, which are freed but still being read, and the one way to write. */
import { assert } from '../core/assert.js'
import type { BlockSums } from '../core/block-sums.js'
import { native } from 'vhost-user-ts-bindings'
import { BLOCK_BYTES } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { IoError } from '../io/operation.js'
import { limits } from '../limits.js'
import type { BlockFile, CompletionTarget } from '../ports/io.js'
import { segmentOffset } from './layout.js'
import { HEADER_PART_BYTES, type SummaryBuilder } from './summary.js'

const EIO = 5

/** A segment that its log has left. */
export interface LeftSegment {
  /** No write to it is under way: a flush that begins now covers all of it. */
  quiet(): boolean
  /** Every record in it is power-safe. */
  powerSafe(): void
}

/** Segments with blocks that are on the backing as well: nobody loses anything when a log needs the room. */
export interface CleanSegments {
  readonly count: number
  /** A log has left this segment. True: it stays for what is clean in it. */
  adopt(index: number): boolean
  /** Gives the oldest one back, by `release`; false when there is none. */
  reclaim(): boolean
}

export class SegmentPool {
  readonly file: BlockFile
  readonly incarnation: string
  readonly segmentBytes: number
  readonly segmentCount: number
  /** First in, first out: wear is spread. */
  readonly #free: number[] = []
  /** Freed while reads were under way: reusable when those pins are gone (H14). */
  readonly #limbo: { readonly index: number; readonly after: number }[] = []
  readonly #pins = new Set<number>()
  readonly #watched = new WeakMap<CompletionTarget, CompletionTarget>()
  #nextPin = 0
  /** Oldest first. */
  readonly #left = new Set<LeftSegment>()
  /** A flush that nobody asked for. */
  #ownFlush: Promise<void> | null = null
  readonly #summaries = new Set<Promise<void>>()
  /** The part of a record's header that was copied last. */
  #header: { readonly memory: AlignedMemory; readonly view: DataView; readonly copy: Float64Array } | null = null
  #use: number
  #readying: NodeJS.Immediate | null = null
  readonly sums: BlockSums
  /** Null: there is no read cache. */
  clean: CleanSegments | null = null
  appendedBytes = 0
  /** Why this region takes no more writes; a failed write or flush is never tried again (H5). */
  failure: string | null = null

  constructor(file: BlockFile, incarnation: string, segmentBytes: number, segmentCount: number, lastUse: number, free: readonly number[], sums: BlockSums) {
    this.file = file
    this.incarnation = incarnation
    this.segmentBytes = segmentBytes
    this.segmentCount = segmentCount
    this.#use = lastUse
    this.#free.push(...free)
    this.sums = sums
  }

  /** Not held by a log: what the read cache has counts as free. */
  get free(): number { return this.#free.length + (this.clean?.count ?? 0) }
  /** The newest use sequence that was given out. */
  get lastUse(): number { return this.#use }
  nextUse(): number { return ++this.#use }

  /** Can this many be taken now? Where reads are under way in what the read cache gives up, only when they have ended. */
  ready(segments: number): boolean {
    this.#reclaim(segments)
    return this.#free.length >= segments
  }

  #reclaim(segments: number): void {
    while (this.#free.length + this.#limbo.length < segments && this.clean?.reclaim() === true) continue
  }

  /** The caller asked whether one is ready. */
  take(): number {
    const index = this.#free.shift()
    assert(index !== undefined, 'a segment is taken only when one is free')
    this.sums.forget(segmentOffset(index, this.segmentBytes) / BLOCK_BYTES, this.segmentBytes / BLOCK_BYTES)
    this.#readying ??= this.clean === null ? null : setImmediate(() => {
      this.#readying = null
      this.#reclaim(this.#aheadSegments)
    })
    return index
  }

  /** Kept empty ahead of the logs, so that none of them waits for a reader of what was clean. */
  get #aheadSegments(): number { return limits.regionReservedSegments + Math.min(limits.readySegments, Math.floor(this.segmentCount / 8)) }

  /** One for the read cache: only where enough stay ready for the logs. */
  takeSpare(): number | null { return this.ready(this.#aheadSegments + 1) ? this.take() : null }

  /** Takes those of these that are free, without forgetting what is in them; in their order. */
  takeAgain(indexes: readonly number[]): number[] {
    const wanted = new Set(indexes), taken = new Set(this.#free.filter((index) => wanted.has(index)))
    const left = this.#free.filter((index) => !taken.has(index))
    this.#free.length = 0
    for (const index of left) this.#free.push(index)
    return indexes.filter((index) => taken.delete(index))
  }

  /** No write to the segment may be under way: it would land in the segment's next use. */
  give(index: number): void {
    if (this.clean?.adopt(index) !== true) this.release(index)
  }

  /** The same without asking the read cache. */
  release(index: number): void {
    if (this.#pins.size === 0) this.#free.push(index)
    else this.#limbo.push({ index, after: this.#nextPin })
  }

  pin(): number {
    const pin = this.#nextPin++
    this.#pins.add(pin)
    return pin
  }

  unpin(pin: number): void {
    assert(this.#pins.delete(pin), 'a pin is released once')
    // Pins are in order: the first of the set is the oldest.
    const oldest = this.#pins.values().next().value ?? Infinity
    while (this.#limbo.length > 0 && this.#limbo[0]!.after <= oldest) this.#free.push(this.#limbo.shift()!.index)
  }

  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    if (this.failure !== null) { setImmediate(() => target.complete(token, -EIO)); return }
    this.appendedBytes += lengthBytes
    this.file.write(address, lengthBytes, offsetBytes, durable, this.#watch(target), token)
  }

  flush(target: CompletionTarget, token: number): void {
    if (this.failure !== null) { setImmediate(() => target.complete(token, -EIO)); return }
    const covered = [...this.#left].filter((segment) => segment.quiet())
    if (covered.length === 0) { this.file.flush(this.#watch(target), token); return }
    this.file.flush(this.#watch({
      complete: (_token, result) => {
        target.complete(token, result)
        if (result < 0) return
        for (const segment of covered) if (this.#left.delete(segment)) segment.powerSafe()
      },
    }), token)
  }

  /**
   * Tells the segment when a flush has covered it. Guests that never flush get one of ours now and then; where that
   * takes too long the oldest segments are given up, and go without a summary.
   */
  awaitFlush(segment: LeftSegment): void {
    this.#left.add(segment)
    if (this.#left.size > limits.summariesPendingMax) this.#left.delete(this.#left.values().next().value!)
    if (this.#left.size < limits.summaryFlushAt || this.#ownFlush !== null) return
    this.#ownFlush = new Promise<void>((resolve) => this.flush({ complete: () => resolve() }, 0)).finally(() => { this.#ownFlush = null })
  }

  /** Copies what a summary needs of the record at `address`, which its owner may use again at once. */
  summarize(builder: SummaryBuilder, address: number): void {
    if (this.#header === null) {
      const memory = new AlignedMemory(BLOCK_BYTES)
      this.#header = { memory, view: new DataView(memory.bytes.buffer), copy: Float64Array.of(0, memory.address, HEADER_PART_BYTES, 0) }
    }
    this.#header.copy[0] = address
    native.copy(this.#header.copy, 1)
    builder.add(this.#header.view)
  }

  /** `close` waits for it; the answer is nobody's business: a summary that is not there is read around. */
  writeSummary(memory: AlignedMemory, offsetBytes: number, done: () => void): void {
    const written = new Promise<void>((resolve) => {
      this.write(memory.address, memory.lengthBytes, offsetBytes, false, { complete: () => { memory.free(); done(); resolve() } }, 0)
    }).finally(() => this.#summaries.delete(written))
    this.#summaries.add(written)
  }

  /** Nothing is appended any more. */
  async close(): Promise<void> {
    if (this.#readying !== null) clearImmediate(this.#readying)
    // It leads to summaries.
    await this.#ownFlush
    await Promise.all(this.#summaries)
    this.#header?.memory.free()
    this.#header = null
  }

  /** Remembers the first failure; one wrapper a target, so that the hot path allocates nothing. */
  #watch(target: CompletionTarget): CompletionTarget {
    let watched = this.#watched.get(target)
    if (watched === undefined) {
      watched = {
        complete: (token, result) => {
          if (result < 0) this.failure ??= `a write or flush of ${this.file.path} failed: ${new IoError(-result).message}`
          target.complete(token, result)
        },
      }
      this.#watched.set(target, watched)
    }
    return watched
  }
}
