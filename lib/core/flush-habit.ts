/**
 * Guesses whether the guest will flush soon. A journal or a database writes a record or two, flushes, and waits:
 * made durable at once, such records leave the flush nothing to do, which saves a disk flush and a round trip to every
 * member. A guest that writes much between two flushes is not made to pay for it with every record.
 */
export class FlushHabit {
  readonly #recordsMax: number
  #sinceFlush = Infinity
  #eager = 0

  /** `recordsMax`: so many records between two flushes still count as a habit, and are made durable after one. */
  constructor(recordsMax: number) { this.#recordsMax = recordsMax }

  flushed(): void {
    this.#eager = this.#sinceFlush <= this.#recordsMax ? this.#recordsMax : 0
    this.#sinceFlush = 0
  }

  /** A record is about to be written: should it be durable when its write ends? */
  record(): boolean {
    this.#sinceFlush++
    return this.#eager-- > 0
  }
}
