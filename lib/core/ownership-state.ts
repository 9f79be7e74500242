/** What the ownership machine knows of one volume, what it hears, and what it asks its shell to do. */
import type { Claim, ClaimMode, GuestView, Member } from './claim.js'
import type { Domains } from './placement.js'
import type { Fenced, Obstacle, TakeoverOrder } from './takeover.js'
import type { SealReport } from './transition.js'
import type { Epoch } from './units.js'

export interface OwnershipPolicy {
  readonly mode: ClaimMode
  readonly copies: number
  /** Hosts that may hold a copy; best first, where no `domains` are given. */
  readonly replicas: readonly string[]
  /** Which of them is chosen by placement, with these fault domains; absent: an operator has put them in order. */
  readonly domains?: Domains | null
  readonly deadAfterMs: number
  readonly quarantineMs: number
  readonly renewMs: number
  /** How long a seal may stay unanswered, and how long a first start waits for its replicas to connect. */
  readonly sealTimeoutMs: number
  /** So long a takeover waits for other members when all that were sealed have lost their power. */
  readonly powerLossWaitMs: number
  /** There is a command that fences an owner that does not answer. */
  readonly fences?: boolean
}

export type Phase = 'standby' | 'claiming' | 'serving' | 'sealed' | 'failed'

export type Kind = 'take' | 'own'
type Step = 'reading' | 'waiting' | 'asking' | 'flushing' | 'sealing' | 'swapping' | 'confirming'

/** An operator's choice for a time in which there are too few hosts for the policy. */
export interface Exemption { readonly leastCopies: number; readonly untilMs: number; /** At the latest; in between it is drained. */ readonly overMs: number }

/** What an attempt changes besides set and mode. */
export type Flags = Pick<Attempt, 'clearQuarantine' | 'release' | 'capacityBytes'>
export const UNCHANGED: Flags = { clearQuarantine: false, release: false, capacityBytes: null }

export interface Attempt {
  readonly kind: Kind
  readonly sinceMs: number
  step: Step
  /** The claim that the attempt started from. */
  from: Claim | null
  awaiting: Member[]
  reports: SealReport[]
  deadlineMs: number
  next: Claim | null
  kept: number
  /** Write-through takeover: since when the owner counts as dead, and whether the backing was flushed after T_q (R14). */
  deadSinceMs: number | null
  /** The claim could not be read back after a swap: ask again at the deadline. */
  unread: boolean
  waitedOut: boolean
  readonly clearQuarantine: boolean
  readonly release: boolean
  readonly capacityBytes: number | null
}

export interface OwnershipState {
  readonly self: Member
  policy: OwnershipPolicy
  readonly volume: { readonly newId: string; readonly guest: GuestView }
  phase: Phase
  reason: string | null
  /** What the attempt waits for; null: it is not known yet, or there is none. */
  obstacle: Obstacle | null
  /** An operator's, for the time of the command. */
  order: TakeoverOrder | null
  /** By the fence command, and the epoch for which it was run last. */
  fenced: Fenced | null
  fenceAsked: Epoch | null
  /** The claim served, or the newest one seen. */
  claim: Claim | null
  reachable: readonly Member[]
  /** Hosts in maintenance: they go on with what they hold, and are to hold nothing more. */
  leaving: readonly string[]
  /** Fewer copies than the policy asks for will do; null: they will not. */
  exemption: Exemption | null
  /** Acks wait, so that the last of what only a leaving host has a copy of gets to the backing. */
  lettingGo: boolean
  /** Hosts that missed a deadline or refused a record, and when; forgiven when they connect anew, or after a while. */
  late: Map<string, number>
  /** Hosts that confirm slowly: others have the copies, where there are others, until this time. The next time it is longer. */
  readonly slow: Map<string, { avoided: boolean; readonly untilMs: number; readonly times: number }>
  wanted: boolean
  /** Nothing above base in any log, inherited ones included. */
  drained: boolean
  /** Everything inherited is on the backing. */
  inheritedDone: boolean
  attempt: Attempt | null
  /** Of the owner of epoch `of`. */
  beat: { readonly epoch: Epoch; readonly counter: number; readonly of: number; readonly sinceMs: number } | null
  /** Epochs whose log on this host is not what was written. */
  readonly damaged: Set<Epoch>
  /**
   * Won, and the shell is not ready to serve it: a change of its own would seal a log that is not there yet, and keep nothing of
   * what the shell acknowledges a moment later.
   */
  starting: boolean
  /** No new attempt before this time. */
  notBeforeMs: number
}

export type OwnershipEvent =
  | { readonly type: 'want' }
  | { readonly type: 'unwant' }
  /** An operator takes the volume over; null: the command has ended. */
  | { readonly type: 'order'; readonly order: TakeoverOrder | null }
  /** The owner of this epoch was fenced. */
  | { readonly type: 'fenced'; readonly fenced: Fenced }
  | { readonly type: 'claimRead'; readonly claim: Claim | null; readonly beat: { readonly epoch: Epoch; readonly counter: number } | null }
  | { readonly type: 'claimUnreadable'; readonly reason: string; readonly damaged: boolean }
  | { readonly type: 'sealed'; readonly epoch: Epoch; readonly report: SealReport }
  | { readonly type: 'sealFailed'; readonly epoch: Epoch; readonly member: Member; readonly busy: boolean; readonly reason: string }
  | { readonly type: 'swapped'; readonly outcome: 'won' | 'lost' | 'unknown' }
  | { readonly type: 'backingFlushed'; readonly ok: boolean }
  /** `replicas`: who may hold copies from here on, best first; absent: as before. */
  | { readonly type: 'members'; readonly reachable: readonly Member[]; readonly leaving?: readonly string[]; readonly replicas?: readonly string[] }
  | { readonly type: 'exempt'; readonly exemption: Exemption | null }
  /** Little is dirty any more: now it is drained, if a member leaves that nobody can replace. */
  | { readonly type: 'letGo' }
  /** A member confirms, and takes too long for it. */
  | { readonly type: 'slow'; readonly host: string }
  | { readonly type: 'late'; readonly host: string; readonly reason: string }
  /** This host's log of the epoch is not what was written: other holders are to have it alone. */
  | { readonly type: 'damaged'; readonly epoch: Epoch }
  /** A member has all that is kept of an inherited log of this epoch now. */
  | { readonly type: 'copied'; readonly host: string; readonly epoch: Epoch }
  | { readonly type: 'selfSealed'; readonly epoch: Epoch; readonly reason: string }
  | { readonly type: 'progress'; readonly drained: boolean; readonly inheritedDone: boolean }
  /** The shell serves this epoch. */
  | { readonly type: 'served'; readonly epoch: Epoch }
  | { readonly type: 'quarantineOver' }
  | { readonly type: 'release' }
  /** What it failed for is settled: it is taken over anew. */
  | { readonly type: 'revive' }
  /** The backing has grown to this, and the guest shall see it. */
  | { readonly type: 'resize'; readonly capacityBytes: number }
  /** An operator asks for another mode than the configuration. */
  | { readonly type: 'policy'; readonly mode: ClaimMode }
  | { readonly type: 'tick' }

export type OwnershipEffect =
  | { readonly type: 'readClaim' }
  | { readonly type: 'seal'; readonly member: Member; readonly epoch: Epoch; readonly handOver: boolean }
  | { readonly type: 'sealSelf'; readonly epoch: Epoch }
  | { readonly type: 'flushBacking' }
  /** Run the fence command against this silent owner; its success comes as `fenced`. */
  | { readonly type: 'fence'; readonly owner: Member; readonly epoch: Epoch }
  /** Running owner: nothing is appended from here until `serve` or `lost`. */
  | { readonly type: 'freeze' }
  | { readonly type: 'swap'; readonly expected: Epoch; readonly next: Claim }
  | { readonly type: 'serve'; readonly claim: Claim; readonly from: Claim | null; readonly kept: number; readonly running: boolean }
  /** Not ours any more: stop acknowledging, reading and destaging. */
  | { readonly type: 'lost'; readonly reason: string }
  | { readonly type: 'released' }

export interface Env {
  readonly nowMs: number
  /** Fresh random nonce, 32 hexadecimal digits. */
  readonly nonce: string
}

export function newOwnership(self: Member, policy: OwnershipPolicy, newId: string, guest: GuestView): OwnershipState {
  return {
    self, policy, volume: { newId, guest }, phase: 'standby', reason: null, obstacle: null, order: null, fenced: null, fenceAsked: null, claim: null, reachable: [], leaving: [], exemption: null, lettingGo: false, late: new Map(), slow: new Map(),
    wanted: false, drained: true, inheritedDone: true, attempt: null, beat: null, damaged: new Set(), starting: false, notBeforeMs: 0,
  }
}
