/**
 * Admission slows down before the region is full: from 60 % on, towards the rate at which the backing takes the
 * data, so that a guest that writes faster than its storage meets a slope and not a wall. What is over the rate stays
 * in the guest's ring.
 */
/** Share of the region in use. */
export const PACED_FROM = 0.6
const TO = 0.95
/** At `PACED_FROM` the guest may write so many times as fast as the backing takes it; at `TO` just as fast. */
const HEADSTART = 8
/** Below this the backing is taken to be stalled, and only the room that is left decides. */
const RATE_MIN_BYTES = 256 * 1024
/** So long a pause can be made up for afterwards: about one cut's worth of waiting would make a new wall. */
const BURST_MS = 50

export class Pacing {
  #creditBytes = 0
  #atMs: number | null = null

  /**
   * Milliseconds until a write of `bytes` may go; 0: now, and it is counted. `fill`: above `PACED_FROM`;
   * `drainRate`: bytes a second that the backing takes, 0: not known.
   */
  wait(bytes: number, fill: number, drainRate: number, nowMs: number): number {
    if (drainRate < RATE_MIN_BYTES) { this.#atMs = null; return 0 }
    const slope = Math.max(0, (TO - fill) / (TO - PACED_FROM))
    const perMs = (drainRate * (1 + (HEADSTART - 1) * slope)) / 1000, burst = perMs * BURST_MS
    this.#creditBytes = this.#atMs === null ? burst : Math.min(burst, this.#creditBytes + (nowMs - this.#atMs) * perMs)
    this.#atMs = nowMs
    // One that is larger than the burst goes alone, and is owed.
    const missing = Math.min(bytes, burst) - this.#creditBytes
    if (missing > 0) return missing / perMs
    this.#creditBytes -= bytes
    return 0
  }
}
