/** A rate with a burst: what was not used is saved up, for a while. Times are the caller's, in milliseconds. */
export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #atMs: number | null = null

  /** `burstMs`: so long a pause can be made up for afterwards. A single request larger than that still passes, alone. */
  constructor(perSecond: number, burstMs: number) {
    this.#perMs = perSecond / 1000
    this.#burst = Math.max(1, this.#perMs * burstMs)
    this.#tokens = this.#burst
  }

  /** Milliseconds until a request that costs `tokens` may go; 0: now. */
  waitMs(tokens: number, nowMs: number): number {
    this.#fill(nowMs)
    const missing = Math.min(tokens, this.#burst) - this.#tokens
    return missing <= 0 ? 0 : missing / this.#perMs
  }

  /** The request goes. What it costs beyond what is there is owed, and delays those that follow. */
  take(tokens: number): void { this.#tokens -= tokens }

  #fill(nowMs: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (this.#atMs === null ? 0 : nowMs - this.#atMs) * this.#perMs)
    this.#atMs = nowMs
  }
}
