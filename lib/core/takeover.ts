/**
 * What may shorten the wait for a silent owner (R6): an operator who vouches that its host is off, or a fence that says so.
 * Both are about one epoch. An owner that comes back, or never was away, owns a later one, and is waited for anew.
 */
import type { Claim, Member } from './claim.js'
import type { Epoch } from './units.js'

/** An operator's command. */
export interface TakeoverOrder {
  /** Of the claim that was looked at when it was given. */
  readonly epoch: Epoch
  /** The owner's host is off: T_dead need not be waited. */
  readonly fenced: boolean
  /** What to say for ever, if nobody can be sealed (R5b); null: then nobody serves. */
  readonly acceptLoss: string | null
}

export interface Fenced {
  readonly epoch: Epoch
  /**
   * The shared storage refuses the owner. That a host is off does not recall what the storage has already, so only this
   * makes waiting for late writes needless (4.3, R14).
   */
  readonly storage: boolean
}

/** What a takeover waits for. */
export type Obstacle =
  /** The claim cannot be read. */
  | 'claim'
  /** Hosts for the first set. */
  | 'copies'
  /** The owner answers and keeps the volume. */
  | 'held'
  /** The owner does not answer, and does not count as dead yet. */
  | 'silent'
  /** Last writes of a write-through owner. */
  | 'landing'
  | 'backing'
  /** Members that may have what those which can be sealed lost with their power. */
  | 'returning'
  /** No member of the set can be sealed. */
  | 'unsealed'

interface Waiting {
  readonly self: Member
  readonly policy: { readonly deadAfterMs: number; readonly renewMs: number; readonly fences?: boolean }
  readonly order: TakeoverOrder | null
  readonly fenced: Fenced | null
  /** The epoch for which a fence was asked for last. */
  readonly fenceAsked: Epoch | null
}

/** For so long the heartbeat of an owner that does not answer has to stand still. */
export function silentForMs(s: Waiting, { epoch }: Claim): number {
  const vouched = s.fenced?.epoch === epoch || (s.order?.epoch === epoch && s.order.fenced)
  return vouched ? Math.min(s.policy.deadAfterMs, 2 * s.policy.renewMs) : s.policy.deadAfterMs
}

/** Nothing that the owner of this epoch has sent to the storage can land any more. */
export const skipsLanding = (s: Waiting, { epoch }: Claim): boolean => s.fenced?.epoch === epoch && s.fenced.storage

/**
 * Once for an epoch, and never while its heartbeat moves: that owner is alive, and only not to be reached from here. Never
 * this host itself, whatever its region was before.
 */
export const mayFence = (s: Waiting, { epoch, owner }: Claim, stillMs: number): boolean =>
  s.policy.fences === true && s.fenceAsked !== epoch && owner.host !== s.self.host && stillMs >= 2 * s.policy.renewMs
