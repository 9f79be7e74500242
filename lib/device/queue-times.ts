/**
 * How long the guest waited for the requests of one queue: from when they were found in its ring until their answers were
 * published. The clock is read once for a pass over the ring, and once for what is published together.
 */
import { limits } from '../limits.js'
import type { GuestTimes, RequestKind } from '../ports/guest.js'

/** Of a request that is no I/O of the volume: not counted. */
export const NOT_TIMED = -1

export class QueueTimes {
  readonly #times: GuestTimes
  #passMs = 0
  /** Chains that stayed in the ring because the volume took none, and since when. */
  #held = 0
  #heldMs = 0
  /** Answered and not published yet. */
  readonly #sinceMs = new Float64Array(limits.queueSizeMax)
  readonly #kinds: RequestKind[] = []
  #answered = 0

  constructor(times: GuestTimes) { this.#times = times }

  get held(): number { return this.#held }
  get heldMs(): number | null { return this.#held === 0 ? null : this.#heldMs }

  beginPass(): void { this.#passMs = this.#times.nowMs() }

  /** The volume takes no more: so many chains are known to wait in the ring. */
  hold(chains: number): void {
    if (this.#held > 0 || chains === 0) return
    this.#held = chains
    this.#heldMs = this.#passMs
  }

  /** When the chain that is taken from the ring now was first seen there. */
  taken(): number {
    if (this.#held === 0) return this.#passMs
    this.#held--
    return this.#heldMs
  }

  /** Of a chain that an earlier back end had taken: nobody knows since when. */
  takenAgain(): number { return this.#passMs }

  answered(kind: RequestKind, sinceMs: number): void {
    if (sinceMs === NOT_TIMED || this.#answered === this.#sinceMs.length) return
    this.#sinceMs[this.#answered] = sinceMs
    this.#kinds[this.#answered++] = kind
  }

  published(): void {
    if (this.#answered === 0) return
    const nowMs = this.#times.nowMs()
    for (let i = 0; i < this.#answered; i++) this.#times.took(this.#kinds[i]!, nowMs - this.#sinceMs[i]!)
    this.#answered = 0
  }

  /** The ring stopped. */
  forget(): void {
    this.#held = 0
    this.#answered = 0
  }
}
