/** Where claims live: the shared storage as arbiter. Control plane only, so promises are fine here. */
import type { Claim, Member } from '../core/claim.js'
import type { Epoch } from '../core/units.js'

export interface Heartbeat {
  readonly owner: Member
  readonly epoch: Epoch
  /** Raised at every renewal. Observers compare it with what they saw before, never with a clock (H43). */
  readonly counter: number
}

export type SwapOutcome = 'won' | 'lost' | 'unknown'

/** The claim of one volume. */
export interface ClaimStore {
  /** Where the claim is, for messages to people. */
  readonly where: string
  /** The newest claim, or null when there never was one. Throws Failure(damaged) for a record that does not verify. */
  read(): Promise<Claim | null>
  /** Replaces the claim of epoch `expected` (0: none yet) by `next` of epoch expected + 1. One that rejects is of unknown outcome as well. */
  compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome>
  beat(heartbeat: Heartbeat): Promise<void>
  readBeat(): Promise<Heartbeat | null>
}
