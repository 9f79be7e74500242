/** What a daemon and its claim workers say to each other, as JSON over the channel that `fork` makes. */
import type { Claim } from '../core/claim.js'
import type { ExitCode } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import type { Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import type { DocumentText } from '../ports/shared-document.js'

/** `host`: who wants to change it; empty for who only looks. */
interface OneClaim { readonly place: string; readonly volume: string; readonly host: string }
interface OneRecord { readonly place: string; readonly host: string }

export type ClaimCall =
  /** On which datastore a place is. */
  | { readonly method: 'locate'; readonly place: string }
  /** Does the place keep what claims need? Leaves nothing behind. */
  | { readonly method: 'prove'; readonly place: string; readonly host: string }
  /** Does the storage of a file answer? Its first block is read; that there is no such file is an answer, too. */
  | { readonly method: 'reach'; readonly place: string }
  /** Volumes that have a claim there. */
  | { readonly method: 'volumes'; readonly place: string }
  | OneClaim & { readonly method: 'read' }
  | OneClaim & { readonly method: 'swap'; readonly expected: Epoch; readonly next: Claim }
  | OneClaim & { readonly method: 'beat'; readonly heartbeat: Heartbeat }
  | OneClaim & { readonly method: 'readBeat' }
  /** The record of the cluster's hosts, as text. */
  | OneRecord & { readonly method: 'readMembers' }
  | OneRecord & { readonly method: 'swapMembers'; readonly expected: number; readonly text: string }

export type Proof = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly text: string; readonly remedy: string }

export interface ClaimAnswers {
  readonly locate: string
  readonly prove: Proof
  readonly reach: null
  readonly volumes: readonly string[]
  readonly read: Claim | null
  readonly swap: SwapOutcome
  readonly beat: null
  readonly readBeat: Heartbeat | null
  readonly readMembers: DocumentText | null
  readonly swapMembers: SwapOutcome
}
export type AnswerTo<C extends ClaimCall> = ClaimAnswers[C['method']]

export interface NumberedCall { readonly id: number; readonly call: ClaimCall }
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'answer'; readonly id: number; readonly value: ClaimAnswers[ClaimCall['method']] }
  | { readonly type: 'failure'; readonly id: number; readonly exitCode: ExitCode; readonly message: string }

/** What a call does, for messages to people. */
export const SAID = {
  locate: 'find', prove: 'try out', reach: 'read', volumes: 'list', read: 'read', swap: 'change', beat: 'renew', readBeat: 'read', readMembers: 'read', swapMembers: 'change',
} as const satisfies Record<ClaimCall['method'], string>
