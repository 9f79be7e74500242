/**
 * Feeds the service manager's watchdog only while the data path moves: the event loop turns, and what was put into the io_uring of the
 * guests' requests came back through it. A storage or a peer that hangs is no reason to end a daemon: the next one would meet the
 * same storage, and its guests would wait for a takeover besides.
 */
import type { CompletionTarget } from '../ports/io.js'

/** A part of IoRing. */
export interface Loop { nop(target: CompletionTarget, token: number): void }

/** Looks in each interval of the manager's: one that comes late is no alarm yet. */
const LOOKS = 4

export class Watchdog implements CompletionTarget {
  readonly #loop: Loop
  readonly #feed: () => void
  readonly #timer: NodeJS.Timeout
  #underWay = false

  constructor(loop: Loop, intervalMs: number, feed: () => void) {
    this.#loop = loop
    this.#feed = feed
    this.#timer = setInterval(() => this.#look(), intervalMs / LOOKS)
    this.#look()
  }

  #look(): void {
    if (this.#underWay) return
    this.#underWay = true
    this.#loop.nop(this, 0)
  }

  complete(): void {
    this.#underWay = false
    this.#feed()
  }

  stop(): void { clearInterval(this.#timer) }
}
