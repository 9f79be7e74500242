/** How fast the log grows, the backing takes it and space in the region comes back: for estimates, and for pacing. */
const SAMPLE_MS = 1000
/** Weight of the newest sample. */
const WEIGHT = 0.3

export interface Totals {
  readonly logged: number
  readonly destaged: number
  /** Bytes of log that are not held any more. */
  readonly freed: number
}

export class Rates {
  #atMs: number | null = null
  #last: Totals = { logged: 0, destaged: 0, freed: 0 }
  /** Bytes a second. */
  log = 0
  destage = 0
  freed = 0

  due(nowMs: number): boolean { return this.#atMs === null || nowMs - this.#atMs >= SAMPLE_MS }

  /** Totals since the start; while nothing is `destaging` the backing's rate is not known and stays as it was. */
  sample(nowMs: number, totals: Totals, destaging: boolean): void {
    if (this.#atMs !== null) {
      const seconds = (nowMs - this.#atMs) / 1000
      const rate = (key: keyof Totals): number => Math.max(0, totals[key] - this.#last[key]) / seconds
      this.log += WEIGHT * (rate('logged') - this.log)
      if (destaging || totals.destaged > this.#last.destaged) {
        this.destage += WEIGHT * (rate('destaged') - this.destage)
        this.freed += WEIGHT * (rate('freed') - this.freed)
      }
    }
    this.#atMs = nowMs
    this.#last = totals
  }
}
