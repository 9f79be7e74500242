/**
 * Who owns a volume, as this host sees it: a pure state machine. Every way to own (first start, restart, migration,
 * takeover of a dead host) and every change by the running owner (drop or add a member, enter or leave
 * write-through, end of quarantine, clean stop) is the same attempt: read the claim, seal, decide, swap, serve.
 *
 * `step` mutates the state it is given and returns what the shell has to do; answers come back as events. Time and
 * randomness come with each event. Rule numbers are those of the ownership protocol.
 */
import { assert, unreachable } from './assert.js'
import {
  hasMember, lostPowerSince, sameMember, type Claim, type ClaimMode, type GuestView, type InheritedLog, type Member,
} from './claim.js'
import { placeCopies, type Domains } from './placement.js'
import { mayFence, silentForMs, skipsLanding, type Fenced, type Obstacle, type TakeoverOrder } from './takeover.js'
import { chooseReplicas, decideChange, firstClaim, giveUpUnsealed, isReleased, mayLack, type ChangeWish, type SealReport } from './transition.js'
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

type Kind = 'take' | 'own'
type Step = 'reading' | 'waiting' | 'asking' | 'flushing' | 'sealing' | 'swapping' | 'confirming'

/** An operator's choice for a time in which there are too few hosts for the policy. */
export interface Exemption { readonly leastCopies: number; readonly untilMs: number; /** At the latest; in between it is drained. */ readonly overMs: number }

/** What an attempt changes besides set and mode. */
type Flags = Pick<Attempt, 'clearQuarantine' | 'release' | 'capacityBytes'>
const UNCHANGED: Flags = { clearQuarantine: false, release: false, capacityBytes: null }

interface Attempt {
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

const RETRY_MS = 500
/** A late host is asked again after this: one whose region was full would else stay out for ever. */
const FORGIVE_MS = 30_000
/** Where the first copies go is for ever, as long as all hosts live: so long a start waits for all to be there to choose from. */
const FIRST_CHOICE_MS = 1000

export function newOwnership(self: Member, policy: OwnershipPolicy, newId: string, guest: GuestView): OwnershipState {
  return {
    self, policy, volume: { newId, guest }, phase: 'standby', reason: null, obstacle: null, order: null, fenced: null, fenceAsked: null, claim: null, reachable: [], leaving: [], exemption: null, lettingGo: false, late: new Map(),
    wanted: false, drained: true, inheritedDone: true, attempt: null, beat: null, damaged: new Set(), starting: false, notBeforeMs: 0,
  }
}

/** Why the volume is served with less than the policy asks for; null when it is not. Acks are frozen meanwhile. */
export function degradedReason(s: OwnershipState): string | null {
  if (s.phase !== 'serving' || s.claim === null) return null
  const copies = s.claim.set.filter((m) => m.host !== s.self.host).length
  if (s.policy.mode === 'write-through') return null
  if (copies >= leastCopies(s)) {
    return s.lettingGo ? `${s.claim.set.filter((m) => s.leaving.includes(m.host)).map((m) => m.host).join(', ')} in maintenance, and no other host for a copy` : null
  }
  return missingCopies(s)
}

/** Write-back is possible with so many. */
const leastCopies = ({ policy, exemption }: OwnershipState): number => exemption === null ? policy.copies : Math.min(policy.copies, exemption.leastCopies)

/** Too few copies for the policy, but not for its exemption: a choice, and no reason to wait for anything. */
export const exemptReason = (s: OwnershipState): string | null =>
  s.exemption !== null && s.phase === 'serving' && s.claim!.mode === 'write-back' && s.claim!.set.length - 1 < s.policy.copies ? missingCopies(s) : null

function missingCopies(s: OwnershipState): string {
  const copies = s.claim!.set.filter((m) => m.host !== s.self.host).length
  const missing = s.policy.replicas.filter((h) => !s.claim!.set.some((m) => m.host === h))
  const leaving = missing.filter((h) => s.leaving.includes(h)), away = missing.filter((h) => !s.leaving.includes(h))
  const why = [...(away.length > 0 ? [`${away.join(', ')} not reachable`] : leaving.length === 0 ? ['there is no other host for one'] : []), ...(leaving.length > 0 ? [`${leaving.join(', ')} in maintenance`] : [])]
  return `${copies} of ${s.policy.copies} copies: ${why.join(', ')}`
}

/** A member is in maintenance and no other host can have its copy: only write-through lets it go. */
export const mustLetGo = (s: OwnershipState): boolean =>
  s.phase === 'serving' && s.claim?.mode === 'write-back' && s.claim.set.some((m) => s.leaving.includes(m.host)) && plan(s).mode === 'write-through'

/** Without its exemption the volume would have to be in write-through. */
export const needsExemption = (s: OwnershipState): boolean => s.phase === 'serving' && s.exemption !== null && possibleMode({ ...s, exemption: null }) !== possibleMode(s)

/** A host in maintenance has some of what is dirty, or will have. The claim names old logs until its next change, destaged or not. */
export function leaverHolds(s: OwnershipState): boolean {
  if (s.phase !== 'serving' || s.claim === null || s.leaving.length === 0) return false
  const { set, inherited } = s.claim, holders = s.inheritedDone ? [] : inherited.flatMap((log) => log.holders)
  return [...set, ...holders].some((m) => s.leaving.includes(m.host))
}

/** What policy and reachable hosts allow now. */
export const possibleMode = (s: OwnershipState): ClaimMode => plan(s).mode

/** New writes wait: too few copies (or write-through asked for) and not everything is on the backing yet. */
export function acksFrozen(s: OwnershipState): boolean {
  if (s.phase !== 'serving' || s.claim === null || s.claim.mode === 'write-through') return false
  return s.policy.mode === 'write-through' || degradedReason(s) !== null
}

export function step(s: OwnershipState, event: OwnershipEvent, env: Env): OwnershipEffect[] {
  const out: OwnershipEffect[] = []
  switch (event.type) {
    case 'want': s.wanted = true; break
    case 'unwant': s.wanted = false; break
    case 'order': onOrder(s, event.order, env); break
    case 'fenced': onFenced(s, event.fenced, env); break
    case 'claimRead': onClaimRead(s, event.claim, event.beat, env, out); break
    case 'claimUnreadable': onUnreadable(s, event.reason, event.damaged, env); break
    case 'sealed': onSealed(s, event.epoch, event.report, env, out); break
    case 'sealFailed': onSealFailed(s, event.epoch, event.member, event.busy, event.reason, env, out); break
    case 'swapped': onSwapped(s, event.outcome, out); break
    case 'backingFlushed': onBackingFlushed(s, event.ok, env, out); break
    case 'members': onMembers(s, event.reachable, event.leaving ?? [], event.replicas ?? s.policy.replicas); break
    case 'exempt': s.exemption = event.exemption; break
    case 'letGo': s.lettingGo = mustLetGo(s); break
    case 'late': s.late.set(event.host, env.nowMs); break
    case 'damaged': s.damaged.add(event.epoch); break
    case 'copied': if (mayChange(s) && addsHolder(s, event.host, event.epoch)) beginOwn(s, env, out, UNCHANGED); break
    case 'selfSealed': onSelfSealed(s, event.epoch, event.reason, env, out); break
    case 'progress': s.drained = event.drained; s.inheritedDone = event.inheritedDone; break
    case 'served': if (s.claim?.epoch === event.epoch) s.starting = false; break
    case 'quarantineOver': if (mayChange(s)) beginOwn(s, env, out, { ...UNCHANGED, clearQuarantine: true }); break
    case 'release': if (mayChange(s)) beginOwn(s, env, out, { ...UNCHANGED, release: true }); break
    case 'revive': if (s.phase === 'failed') { s.phase = 'standby'; s.reason = null; s.wanted = true }; break
    case 'resize': if (mayChange(s)) beginOwn(s, env, out, { ...UNCHANGED, capacityBytes: event.capacityBytes }); break
    case 'policy': s.policy = { ...s.policy, mode: event.mode }; break
    case 'tick':
      if (s.exemption !== null && env.nowMs >= s.exemption.overMs) s.exemption = null
      for (const [host, sinceMs] of s.late) if (env.nowMs - sinceMs > FORGIVE_MS) s.late.delete(host); break
    default: unreachable(event, 'ownership event')
  }
  proceed(s, env, out)
  return out
}

/** The running owner may begin a claim change. */
const mayChange = (s: OwnershipState): boolean => s.phase === 'serving' && s.attempt === null && !s.starting

// --- what happens next, after every event ------------------------------------------------------------------------

function proceed(s: OwnershipState, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt
  if (a !== null) {
    if (a.kind === 'take' && !s.wanted && (a.step === 'waiting' || a.step === 'reading')) {
      giveUp(s, env, 'standby', s.reason ?? 'not asked for any more')
      return
    }
    if (a.step === 'waiting' && env.nowMs >= a.deadlineMs) { a.step = 'reading'; out.push({ type: 'readClaim' }) }
    else if (a.step === 'sealing' && env.nowMs >= a.deadlineMs) decide(s, env, out)
    else if (a.step === 'confirming' && a.unread && env.nowMs >= a.deadlineMs) { a.unread = false; out.push({ type: 'readClaim' }) }
    return
  }
  if (env.nowMs < s.notBeforeMs) return
  if (s.phase === 'serving') {
    if (mayChange(s)) reviewSet(s, env, out)
    return
  }
  if (s.wanted && s.phase !== 'failed') beginTake(s, env, out)
}

/** A running owner compares the recorded set and mode with what policy and reachability ask for. */
function reviewSet(s: OwnershipState, env: Env, out: OwnershipEffect[]): void {
  const claim = s.claim!
  const desired = plan(s)
  const lateMember = claim.set.find((m) => s.late.has(m.host))
  const others = claim.set.filter((m) => m.host !== s.self.host)
  const joins = desired.set.some((m) => !hasMember(claim.set, m))
  const leaves = others.some((m) => s.leaving.includes(m.host) && !hasMember(desired.set, m))
  const spare = others.some((m) => !hasMember(desired.set, m))
  // Until the claim has it as it is now, a takeover would believe that it lacks something.
  const powerBack = others.some((m) => s.reachable.some((r) => sameMember(r, m) && lostPowerSince(r, m)))
  const can = desired.mode === 'write-back' || (s.drained && !claim.quarantine)
  const change =
    lateMember !== undefined || leavesDamaged(s, claim) || powerBack ||
    (desired.mode !== claim.mode && can) ||
    (claim.mode === 'write-back' && joins && others.length < s.policy.copies) ||
    (claim.mode === 'write-back' && leaves && desired.mode === 'write-back' && (joins || s.inheritedDone)) ||
    // R-migration: the source stays in the set until what it holds is on the backing.
    (claim.mode === 'write-back' && spare && s.inheritedDone && others.length > s.policy.copies)
  if (change) beginOwn(s, env, out, UNCHANGED)
}

/** Inherited logs that this owner has no copy of, with fewer holders in reach than the policy asks for. */
export const thinElsewhere = (s: OwnershipState): readonly InheritedLog[] => s.phase !== 'serving' || s.claim === null || s.inheritedDone ? []
  : s.claim.inherited.filter((log) => !hasMember(log.holders, s.self) && holdersInReach(s, log) <= s.policy.copies)

const holdersInReach = (s: OwnershipState, log: InheritedLog): number =>
  log.holders.filter((m) => sameMember(m, s.self) || s.reachable.some((r) => sameMember(r, m))).length

/** The log has fewer holders in reach than the policy asks for. With enough of them the next change names the new one as well. */
function addsHolder(s: OwnershipState, host: string, epoch: Epoch): boolean {
  const log = s.claim!.inherited.find((each) => each.epoch === epoch), member = s.claim!.set.find((m) => m.host === host)
  if (log === undefined || member === undefined || hasMember(log.holders, member) || s.late.has(host)) return false
  return holdersInReach(s, log) <= s.policy.copies
}

/** Does another member hold what is damaged here? */
function leavesDamaged(s: OwnershipState, claim: Claim): boolean {
  if (s.damaged.size === 0) return false
  const sealable = claim.set.some((m) => !sameMember(m, s.self) && !s.late.has(m.host) && s.reachable.some((r) => sameMember(r, m)))
  return (s.damaged.has(claim.epoch) && sealable) ||
    claim.inherited.some((log) => s.damaged.has(log.epoch) && log.holders.length > 1 && hasMember(log.holders, s.self))
}

/** Who can have copies now: as many as the policy asks for, or fewer. */
function replicasNow(s: OwnershipState): Member[] {
  const ok = s.reachable.filter((m) => !s.late.has(m.host) && !s.leaving.includes(m.host))
  const { replicas: hosts, copies, domains } = s.policy
  return domains == null ? chooseReplicas(s.self, hosts, ok, s.claim?.set ?? [], copies)
    : placeCopies({ volume: s.claim?.volume ?? s.volume.newId, self: s.self, candidates: ok.filter((m) => hosts.includes(m.host)), claim: s.claim, copies, domains })
}

function plan(s: OwnershipState): { set: Member[]; mode: ClaimMode } {
  const replicas = replicasNow(s)
  if (s.policy.mode === 'write-through' || replicas.length < leastCopies(s)) return { set: [s.self], mode: 'write-through' }
  return { set: [s.self, ...replicas], mode: 'write-back' }
}

// --- attempts ------------------------------------------------------------------------------------------------------

function newAttempt(kind: Kind, env: Env, flags: Flags): Attempt {
  return {
    kind, sinceMs: env.nowMs, step: 'reading', from: null, awaiting: [], reports: [], deadlineMs: 0, next: null, kept: 0,
    deadSinceMs: null, unread: false, waitedOut: false, ...flags,
  }
}

function onOrder(s: OwnershipState, order: TakeoverOrder | null, env: Env): void {
  s.order = order
  if (order === null || s.phase === 'serving') return
  s.wanted = true
  s.obstacle = null
  lookAgain(s, env)
}

function onFenced(s: OwnershipState, fenced: Fenced, env: Env): void {
  s.fenced = fenced
  lookAgain(s, env)
}

/** Something that an attempt waits for may have changed. */
function lookAgain(s: OwnershipState, env: Env): void {
  if (s.attempt?.kind === 'take' && s.attempt.step === 'waiting') s.attempt.deadlineMs = env.nowMs
}

function beginTake(s: OwnershipState, env: Env, out: OwnershipEffect[]): void {
  s.attempt = newAttempt('take', env, UNCHANGED)
  s.phase = 'claiming'
  out.push({ type: 'readClaim' })
}

function beginOwn(s: OwnershipState, env: Env, out: OwnershipEffect[], flags: Flags): void {
  s.attempt = newAttempt('own', env, flags)
  s.attempt.from = s.claim
  out.push({ type: 'freeze' })
  seal(s, env, out)
}

function wait(s: OwnershipState, env: Env, ms: number, obstacle: Obstacle, reason: string): void {
  s.attempt!.step = 'waiting'
  s.attempt!.deadlineMs = env.nowMs + ms
  s.obstacle = obstacle
  s.reason = reason
}

function giveUp(s: OwnershipState, env: Env, phase: Phase, reason: string): void {
  s.attempt = null
  s.phase = phase
  s.obstacle = null
  s.reason = reason
  s.notBeforeMs = env.nowMs + RETRY_MS
}

function onClaimRead(
  s: OwnershipState, claim: Claim | null, beat: { readonly epoch: Epoch; readonly counter: number } | null, env: Env, out: OwnershipEffect[],
): void {
  noteBeat(s, claim, beat, env)
  const a = s.attempt
  if (a?.step === 'confirming') { confirm(s, claim, env, out); return }
  if (a !== null && a.step !== 'reading') return
  if (a !== null) { startFrom(s, claim, env, out); return }
  if (claim === null) return
  if (s.phase === 'serving' && s.claim !== null && claim.epoch > s.claim.epoch) {
    lose(s, claim, out)
    return
  }
  if (s.phase !== 'serving') {
    s.claim = claim
    if (s.phase === 'sealed' && !sameMember(claim.owner, s.self)) { s.phase = 'standby'; s.reason = `owned by ${claim.owner.host}` }
  }
}

function lose(s: OwnershipState, claim: Claim, out: OwnershipEffect[]): void {
  s.attempt = null
  s.claim = claim
  // Its guest, if one still runs here, stays stopped: only a new start of its rings asks for the volume again.
  s.wanted = false
  s.phase = 'standby'
  s.reason = `taken over by ${claim.owner.host} at epoch ${claim.epoch}`
  out.push({ type: 'lost', reason: s.reason })
}

function onUnreadable(s: OwnershipState, reason: string, damaged: boolean, env: Env): void {
  const a = s.attempt
  if (a === null) return
  if (damaged) { giveUp(s, env, 'failed', reason); return }
  if (a.step === 'reading') wait(s, env, RETRY_MS, 'claim', reason)
  else if (a.step === 'confirming') { a.deadlineMs = env.nowMs + RETRY_MS; a.unread = true; s.reason = reason }
}

/**
 * Remembers since when the owner's heartbeat stands still, by this host's own clock (R6, H43). A new owner that has not renewed
 * yet is not silent for as long as the one before it was.
 */
function noteBeat(s: OwnershipState, claim: Claim | null, beat: { readonly epoch: Epoch; readonly counter: number } | null, env: Env): void {
  const seen = s.beat, of = claim?.epoch ?? 0
  const key = beat ?? { epoch: 0 as Epoch, counter: 0 }
  if (seen === null || seen.of !== of || seen.epoch !== key.epoch || seen.counter !== key.counter) s.beat = { ...key, of, sinceMs: env.nowMs }
}

function startFrom(s: OwnershipState, claim: Claim | null, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt!
  a.from = claim
  s.claim = claim
  if (mustChooseLater(s, claim, env)) { wait(s, env, 50, 'copies', 'waiting for all peers to connect, to choose where the copies go'); return }
  const desired = plan(s)
  if (claim === null) {
    if (desired.mode !== s.policy.mode && env.nowMs - a.sinceMs < s.policy.sealTimeoutMs) {
      wait(s, env, 50, 'copies', `waiting for ${s.policy.copies} of {${s.policy.replicas.join(', ')}} to connect`)
      return
    }
    swap(s, firstClaim(s.volume.newId, s.volume.guest, { ...desired, self: s.self, nonce: env.nonce, clearQuarantine: false, released: false, capacityBytes: null, damagedHere: s.damaged }), 0, out)
    return
  }
  if (sameMember(claim.owner, s.self) || isReleased(claim)) { seal(s, env, out); return }
  const owner = s.reachable.find((m) => sameMember(m, claim.owner))
  if (owner !== undefined) {
    a.step = 'asking'
    a.deadlineMs = env.nowMs + s.policy.sealTimeoutMs
    a.awaiting = [owner]
    out.push({ type: 'seal', member: owner, epoch: claim.epoch, handOver: true })
    return
  }
  takeFromSilent(s, claim, env, out)
}

/** Nobody has a copy yet, and not everybody who could is connected: who dials fastest is no reason to have it. */
function mustChooseLater(s: OwnershipState, claim: Claim | null, env: Env): boolean {
  const { mode, copies, domains, replicas } = s.policy
  if (domains == null || mode === 'write-through' || replicas.length <= copies || (claim !== null && !isReleased(claim))) return false
  const there = replicas.every((host) => s.leaving.includes(host) || s.reachable.some((m) => m.host === host))
  return copies > 0 && !there && env.nowMs - s.attempt!.sinceMs < FIRST_CHOICE_MS
}

/**
 * The owner cannot be asked: only its heartbeat, standing still, allows a takeover (R6). For T_dead; or, when it was fenced
 * at this very epoch, for as long as two renewals take: a host that is off renews nothing, so whoever named the wrong one is found out.
 */
function takeFromSilent(s: OwnershipState, claim: Claim, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt!
  const stillMs = env.nowMs - s.beat!.sinceMs, needMs = silentForMs(s, claim)
  if (mayFence(s, claim, stillMs)) { s.fenceAsked = claim.epoch; out.push({ type: 'fence', owner: claim.owner, epoch: claim.epoch }) }
  if (stillMs < needMs) {
    wait(s, env, Math.min(s.policy.renewMs, needMs - stillMs), 'silent',
      `owned by ${claim.owner.host}, which does not answer; its heartbeat must stand still for ${needMs} ms (${Math.round(stillMs)} so far)`)
    return
  }
  if (claim.mode === 'write-back') { seal(s, env, out); return }
  // R14: nobody else holds anything; its last writes must have landed before even a read is answered.
  a.deadSinceMs ??= env.nowMs
  const left = skipsLanding(s, claim) ? 0 : a.deadSinceMs + s.policy.quarantineMs - env.nowMs
  if (left > 0) {
    wait(s, env, Math.min(left, s.policy.renewMs), 'landing', `write-through takeover of ${claim.owner.host}: waiting ${Math.ceil(left)} ms for its last writes to land`)
    return
  }
  a.step = 'flushing'
  out.push({ type: 'flushBacking' })
}

function onBackingFlushed(s: OwnershipState, ok: boolean, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt
  if (a === null || a.step !== 'flushing') return
  if (!ok) { wait(s, env, RETRY_MS, 'backing', 'the backing cannot be flushed'); return }
  a.waitedOut = true
  a.awaiting = []
  decide(s, env, out)
}

// --- sealing ---------------------------------------------------------------------------------------------------------

function seal(s: OwnershipState, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt!
  const claim = a.from!
  a.step = 'sealing'
  a.deadlineMs = env.nowMs + s.policy.sealTimeoutMs
  const already = a.reports.map((r) => r.member)
  const targets = claim.set.filter((m) => !hasMember(already, m) &&
    (sameMember(m, s.self) || (!s.late.has(m.host) && s.reachable.some((r) => sameMember(r, m)))))
  a.awaiting = targets
  for (const m of targets) {
    if (sameMember(m, s.self)) out.push({ type: 'sealSelf', epoch: claim.epoch })
    else out.push({ type: 'seal', member: m, epoch: claim.epoch, handOver: false })
  }
  if (targets.length === 0) decide(s, env, out)
}

function onSealed(s: OwnershipState, epoch: Epoch, report: SealReport, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt
  if (a === null || a.from === null || a.from.epoch !== epoch) return
  if (a.step !== 'asking' && a.step !== 'sealing') return
  if (!a.awaiting.some((m) => sameMember(m, report.member))) return
  a.awaiting = a.awaiting.filter((m) => !sameMember(m, report.member))
  a.reports.push(report)
  if (a.step === 'asking') { seal(s, env, out); return }
  if (a.awaiting.length === 0) decide(s, env, out)
}

function onSealFailed(
  s: OwnershipState, epoch: Epoch, member: Member, busy: boolean, reason: string, env: Env, out: OwnershipEffect[],
): void {
  const a = s.attempt
  if (a === null || a.from === null || a.from.epoch !== epoch) return
  if (a.step !== 'asking' && a.step !== 'sealing') return
  a.awaiting = a.awaiting.filter((m) => !sameMember(m, member))
  if (a.step === 'asking') {
    if (busy) wait(s, env, RETRY_MS, 'held', `held by ${member.host}: ${reason}`)
    else takeFromSilent(s, a.from, env, out)
    return
  }
  if (a.kind === 'own') s.late.set(member.host, env.nowMs)
  if (a.awaiting.length === 0) decide(s, env, out)
}

// --- decision and swap -----------------------------------------------------------------------------------------------

function decide(s: OwnershipState, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt!
  const claim = a.from!
  for (const m of a.awaiting) if (a.kind === 'own' && m.host !== s.self.host) s.late.set(m.host, env.nowMs)
  a.awaiting = []
  const missing = missingAfterPowerLoss(s, a, env)
  if (missing !== null) { a.reports = []; wait(s, env, RETRY_MS, 'returning', missing); return }
  const wish = {
    self: s.self, nonce: env.nonce, clearQuarantine: a.clearQuarantine, released: a.release, capacityBytes: a.capacityBytes, damagedHere: s.damaged,
    storageFenced: skipsLanding(s, claim),
  }
  const target = a.release ? { set: [s.self], mode: 'write-back' as ClaimMode } : targetOf(s, a)
  if (a.kind === 'own' && !a.reports.some((r) => sameMember(r.member, s.self))) {
    // The own region did not take the seal: nothing can be promised from here any more.
    giveUp(s, env, 'failed', 'the own region could not be sealed')
    out.push({ type: 'lost', reason: s.reason! })
    return
  }
  const running = a.kind === 'own'
  let decision = decideChange(claim, a.reports, { ...target, ...wish }, running, a.waitedOut)
  if (!decision.ok && target.mode === 'write-through' && !a.release) {
    // Not drained: serve as write-back, with acks frozen, until it is (R13). The copies that there are stay in the set: were it
    // this host alone, its death would strand the volume, although others hold everything inherited (R5b).
    decision = decideChange(claim, a.reports, { ...withSource(s, a, [s.self, ...replicasNow(s)]), mode: 'write-back', ...wish }, running, a.waitedOut)
  }
  if (!decision.ok) {
    if (a.kind === 'own') { resume(s, claim, env, out, decision.reason); return }
    const loss = acceptedLoss(s, a, { ...wish, ...target })
    if (loss !== null) { swap(s, loss, 0, out); return }
    a.reports = []
    wait(s, env, RETRY_MS, 'unsealed', decision.reason)
    return
  }
  swap(s, decision.next, decision.kept, out)
}

/**
 * Everybody who could be sealed has lost its power since the epoch began, so each of them may lack what the guest was told is
 * written; another member may have it all. It is waited for, for a time: what a FLUSH covered is here anyway.
 */
function missingAfterPowerLoss(s: OwnershipState, a: Attempt, env: Env): string | null {
  const claim = a.from!, sealed = a.reports.map((r) => r.member), leftMs = a.sinceMs + s.policy.powerLossWaitMs - env.nowMs
  // One that was formatted anew never comes back with anything.
  const formatted = (m: Member): boolean => s.reachable.some((r) => r.host === m.host && !sameMember(r, m))
  const missing = claim.set.filter((m) => !hasMember(sealed, m) && !formatted(m)).map((m) => m.host)
  if (a.kind === 'own' || isReleased(claim) || s.order?.acceptLoss != null || leftMs <= 0 || missing.length === 0) return null
  if (sealed.length === 0 || !a.reports.every((r) => mayLack(claim, r))) return null
  return `${sealed.map((m) => m.host).join(', ')} lost power, and ${missing.join(', ')} may have writes that went with it: waited for for another ${Math.ceil(leftMs / 1000)} s`
}

/** R5b: only for the epoch that the operator was shown, and only when nobody at all could be sealed. */
function acceptedLoss(s: OwnershipState, a: Attempt, wish: ChangeWish): Claim | null {
  const claim = a.from!, { order } = s
  if (order?.acceptLoss == null || order.epoch !== claim.epoch || a.reports.length > 0 || claim.mode === 'write-through' || isReleased(claim)) return null
  const set = wish.mode === 'write-through' ? [s.self] : wish.set
  return giveUpUnsealed(claim, { ...wish, set }, order.acceptLoss)
}

function targetOf(s: OwnershipState, a: Attempt): { set: Member[]; mode: ClaimMode } {
  const desired = plan(s)
  if (desired.mode === 'write-through') return desired
  return { mode: 'write-back', ...withSource(s, a, desired.set) }
}

/**
 * The living source of a migration stays a member until what it holds is on the backing: if the new owner dies
 * before its guest ran, the source can still seal a member, itself (section 4.4).
 */
function withSource(s: OwnershipState, a: Attempt, set: Member[]): { set: Member[] } {
  const claim = a.from!
  const keep = a.kind === 'take'
    ? a.reports.filter((r) => sameMember(r.member, claim.owner)).map((r) => r.member)
    : claim.set.filter((m) => !s.inheritedDone && !s.late.has(m.host)).map((m) => s.reachable.find((r) => sameMember(r, m)) ?? m)
  // A host that was formatted anew is in the new set as another member: what it was before holds nothing any more (R5).
  return { set: [...set, ...keep.filter((m) => !set.some((chosen) => chosen.host === m.host))] }
}

function swap(s: OwnershipState, next: Claim, kept: number, out: OwnershipEffect[]): void {
  const a = s.attempt!
  a.step = 'swapping'
  a.next = next
  a.kept = kept
  out.push({ type: 'swap', expected: (next.epoch - 1) as Epoch, next })
}

function onSwapped(s: OwnershipState, outcome: 'won' | 'lost' | 'unknown', out: OwnershipEffect[]): void {
  const a = s.attempt
  if (a === null || a.step !== 'swapping') return
  if (outcome === 'won') { serve(s, out) }
  else {
    // Lost or unknown: the store tells which; nothing is acknowledged meanwhile.
    a.step = 'confirming'
    out.push({ type: 'readClaim' })
  }
}

function confirm(s: OwnershipState, claim: Claim | null, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt!
  const next = a.next!
  if (claim !== null && claim.nonce === next.nonce) { serve(s, out); return }
  if ((claim?.epoch ?? 0) < next.epoch) {
    a.step = 'swapping'
    out.push({ type: 'swap', expected: (next.epoch - 1) as Epoch, next })
    return
  }
  if (a.kind === 'own') { lose(s, claim!, out); return }
  s.claim = claim
  giveUp(s, env, 'claiming', `another host changed the claim first (${claim!.owner.host}, epoch ${claim!.epoch})`)
}

function serve(s: OwnershipState, out: OwnershipEffect[]): void {
  const a = s.attempt!
  const next = a.next!
  assert(s.claim === null || next.epoch > s.claim.epoch, 'epochs only rise')
  s.attempt = null
  s.claim = next
  if (a.release) {
    s.phase = 'standby'
    s.reason = 'released'
    s.wanted = false
    out.push({ type: 'released' })
    return
  }
  s.phase = 'serving'
  s.lettingGo = false
  s.starting = a.kind === 'take'
  s.reason = null
  s.obstacle = null
  s.inheritedDone = next.inherited.length === 0
  s.drained = s.inheritedDone
  out.push({ type: 'serve', claim: next, from: a.from, kept: a.kept, running: a.kind === 'own' })
}

/** An own change that cannot be made: sealed at this epoch already, so only a change that can be made resumes service. */
function resume(s: OwnershipState, claim: Claim, env: Env, out: OwnershipEffect[], reason: string): void {
  const wish = { self: s.self, nonce: env.nonce, clearQuarantine: false, released: false, capacityBytes: null, damagedHere: s.damaged }
  const staying = s.attempt!.reports.map((r) => r.member)
  const decision = decideChange(claim, s.attempt!.reports, { ...wish, set: staying, mode: 'write-back' }, true)
  assert(decision.ok, `a running owner can always go on as write-back (${reason})`)
  swap(s, decision.next, decision.kept, out)
}

// --- the outside world -------------------------------------------------------------------------------------------------

function onMembers(s: OwnershipState, reachable: readonly Member[], leaving: readonly string[], replicas: readonly string[]): void {
  for (const m of reachable) {
    if (!s.reachable.some((r) => sameMember(r, m))) s.late.delete(m.host)
  }
  s.reachable = reachable
  s.leaving = leaving
  s.policy = { ...s.policy, replicas }
  s.lettingGo &&= mustLetGo(s)
}

function onSelfSealed(s: OwnershipState, epoch: Epoch, reason: string, env: Env, out: OwnershipEffect[]): void {
  const a = s.attempt
  // Won already, and not heard of: what is sealed must not be served when the answer comes (R9).
  const unheard = (a?.step === 'swapping' || a?.step === 'confirming') && epoch >= a.next!.epoch
  if (unheard && a.kind === 'take') { giveUp(s, env, 'claiming', reason); return }
  if (s.phase !== 'serving' || s.claim === null || epoch < s.claim.epoch) return
  // An own change that is already sealing or swapping decides by its swap; a sealed epoch only blocks the old one.
  if (a?.kind === 'own' && !unheard) return
  s.attempt = null
  s.phase = 'sealed'
  s.reason = reason
  s.wanted = false
  out.push({ type: 'lost', reason })
}
