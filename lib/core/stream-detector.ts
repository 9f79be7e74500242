/**
 * Tells reads of a scan from those of a working set: a read that goes on where an earlier one ended belongs to a
 * stream, and a stream that is long enough is not worth a place in the cache.
 */
const STREAMS = 16

export class StreamDetector {
  readonly #longSectors: number
  /** The sector behind each stream's last read, and how much it has read so far; the one used longest ago is replaced. */
  readonly #next = new Float64Array(STREAMS).fill(-1)
  readonly #length = new Float64Array(STREAMS)
  readonly #used = new Float64Array(STREAMS)
  #clock = 0

  constructor(longSectors: number) { this.#longSectors = longSectors }

  /** Is this read part of a long stream? */
  read(lba: number, sectors: number): boolean {
    let stream = 0
    for (let i = 0; i < STREAMS; i++) {
      if (this.#next[i] === lba) { stream = i; break }
      if (this.#used[i]! < this.#used[stream]!) stream = i
    }
    this.#length[stream] = this.#next[stream] === lba ? this.#length[stream]! + sectors : sectors
    this.#next[stream] = lba + sectors
    this.#used[stream] = ++this.#clock
    return this.#length[stream]! >= this.#longSectors
  }
}
