/** How fast the log grows and the backing takes it: for estimates that people see, never for decisions. */
const SAMPLE_MS = 1000
/** Weight of the newest sample. */
const WEIGHT = 0.3

export class Rates {
  #atMs: number | null = null
  #logged = 0
  #destaged = 0
  /** Bytes a second. */
  log = 0
  destage = 0

  /** Totals since the start; `destaging`: without it the backing's rate is not known and stays as it was. */
  sample(nowMs: number, loggedBytes: number, destagedBytes: number, destaging: boolean): void {
    if (this.#atMs !== null && nowMs - this.#atMs < SAMPLE_MS) return
    if (this.#atMs !== null) {
      const seconds = (nowMs - this.#atMs) / 1000
      this.log += WEIGHT * ((loggedBytes - this.#logged) / seconds - this.log)
      const destaged = (destagedBytes - this.#destaged) / seconds
      if (destaging || destaged > 0) this.destage += WEIGHT * (destaged - this.destage)
    }
    this.#atMs = nowMs
    this.#logged = loggedBytes
    this.#destaged = destagedBytes
  }
}
