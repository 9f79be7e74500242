/** The region's segments: which are free, which are freed but still being read, and the one way to write. */
import { assert } from '../core/assert.js'
import { IoError } from '../io/operation.js'
import type { BlockFile, CompletionTarget } from '../ports/io.js'

const EIO = 5

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
  #use: number
  appendedBytes = 0
  /** Why this region takes no more writes; a failed write or flush is never tried again (H5). */
  failure: string | null = null

  constructor(file: BlockFile, incarnation: string, segmentBytes: number, segmentCount: number, lastUse: number, free: readonly number[]) {
    this.file = file
    this.incarnation = incarnation
    this.segmentBytes = segmentBytes
    this.segmentCount = segmentCount
    this.#use = lastUse
    this.#free.push(...free)
  }

  get free(): number { return this.#free.length }
  /** The newest use sequence that was given out. */
  get lastUse(): number { return this.#use }
  nextUse(): number { return ++this.#use }

  take(): number {
    const index = this.#free.shift()
    assert(index !== undefined, 'a segment is taken only when one is free')
    return index
  }

  /** No write to the segment may be under way: it would land in the segment's next use. */
  give(index: number): void {
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
    this.file.flush(this.#watch(target), token)
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
