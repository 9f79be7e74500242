/**
 * How often values of each power of two came. A fixed set of counters: `add` allocates nothing, and costs as much for
 * the first value as for the billionth.
 */

/** Bucket i counts what is above 2^(first+i-1) and at most 2^(first+i); the first one has all below as well, the last one all above. */
export interface HistogramCounts {
  readonly first: number
  readonly counts: readonly number[]
  readonly sum: number
}

/** More would not fit in the integer that the bucket is taken from. */
const MOST = 2 ** 31

export class LogHistogram {
  readonly #first: number
  readonly #counts: Float64Array
  #sum = 0

  /** Bounds are 2^first, 2^(first+1), ..., 2^last. */
  constructor(first: number, last: number) {
    this.#first = first
    this.#counts = new Float64Array(last - first + 2)
  }

  add(value: number): void {
    const power = value <= 1 ? 0 : 32 - Math.clz32(Math.ceil(Math.min(value, MOST)) - 1)
    const bucket = power - this.#first
    this.#counts[bucket < 0 ? 0 : bucket < this.#counts.length ? bucket : this.#counts.length - 1]!++
    this.#sum += value
  }

  snapshot(): HistogramCounts { return { first: this.#first, counts: [...this.#counts], sum: this.#sum } }
}

export const countOf = ({ counts }: HistogramCounts): number => counts.reduce((sum, n) => sum + n, 0)

/** Upper bound of a bucket; the last one has none. */
export const boundOf = ({ first, counts }: HistogramCounts, bucket: number): number => bucket === counts.length - 1 ? Infinity : 2 ** (first + bucket)

/**
 * Below this were that many of all values, guessed within the bucket; null without any. Of the last bucket its lower bound is
 * told: above it nothing is known.
 */
export function quantileOf(histogram: HistogramCounts, fraction: number): number | null {
  const { counts, first } = histogram, total = countOf(histogram)
  if (total === 0) return null
  let left = fraction * total
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const here = counts[bucket]!
    if (left > here || here === 0) { left -= here; continue }
    const from = bucket === 0 ? 0 : 2 ** (first + bucket - 1), to = boundOf(histogram, bucket)
    return to === Infinity ? from : from + (to - from) * (left / here)
  }
  return 2 ** (first + counts.length - 2)
}

/** What came between two snapshots of one histogram. */
export function between(before: HistogramCounts, after: HistogramCounts): HistogramCounts {
  return { first: after.first, counts: after.counts.map((n, i) => n - (before.counts[i] ?? 0)), sum: after.sum - before.sum }
}
