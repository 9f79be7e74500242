/**
 * A freeze: the backing stays at one cut while a snapshot or backup runs below us; the guest goes on writing into the
 * logs. It ends by `thaw`, or breaks: when its lease runs out, or when the region has no room left for the guest. A
 * freeze that broke is an error at `thaw`, because what was read below us since may be of two points in time.
 */
import type { Won } from '../core/units.js'

export class Hold {
  /** The backing is to be, and to stay, the disk as of this won. */
  readonly target: Won
  readonly sinceMs: number
  readonly untilMs: number
  #broken: string | null = null

  constructor(target: Won, nowMs: number, leaseMs: number) {
    this.target = target
    this.sinceMs = nowMs
    this.untilMs = nowMs + leaseMs
  }

  get broken(): string | null { return this.#broken }
  /** Nothing beyond the target may reach the backing. */
  get holds(): boolean { return this.#broken === null }

  /** Why the freeze ends now, told once; null while it goes on. `need`: what the guest cannot go on without. */
  check(nowMs: number, need: string | null): string | null {
    if (this.#broken !== null) return null
    if (nowMs >= this.untilMs) this.#broken = `its lease of ${Math.round((this.untilMs - this.sinceMs) / 1000)} s ran out`
    else this.#broken = need
    return this.#broken
  }
}
