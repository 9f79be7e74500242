/**
 * Who owns a volume, as this host sees it: a pure state machine. Every way to own (first start, restart, migration,
 * takeover of a dead host) and every change by the running owner (drop or add a member, enter or leave
 * write-through, end of quarantine, clean stop) is the same attempt: read the claim, seal, decide, swap, serve.
 *
 * `step` mutates the state it is given and returns what the shell has to do; answers come back as events. Time and
 * randomness come with each event. Rule numbers are those of the ownership protocol.
 */
import { assert, unreachable } from './assert.js'
import { hasMember, sameMember, type Claim, type ClaimMode, type Member } from './claim.js'
import { addsHolder, isOutdated, isSlow, mustLetGo, plan, replicasNow } from './copies.js'
import { UNCHANGED, type Attempt, type Env, type Flags, type Kind, type OwnershipEffect, type OwnershipEvent, type OwnershipState, type Phase } from './ownership-state.js'
import { mayFence, silentForMs, skipsLanding, type Fenced, type Obstacle, type TakeoverOrder } from './takeover.js'
import { decideChange, firstClaim, giveUpUnsealed, isReleased, mayLack, type ChangeWish, type SealReport } from './transition.js'
import type { Epoch } from './units.js'

const RETRY_MS = 500
/** A late host is asked again after this: one whose region was full would else stay out for ever. */
const FORGIVE_MS = 30_000
/** A slow host is avoided for so long the first time, then twice as long each time; and what it was is forgotten after the longest. */
const SLOW_MS = 60_000
const SLOW_MAX_MS = 3_600_000
/** Where the first copies go is for ever, as long as all hosts live: so long a start waits for all to be there to choose from. */
const FIRST_CHOICE_MS = 1000

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
    case 'slow': onSlow(s, event.host, env); break
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
      for (const [host, sinceMs] of s.late) if (env.nowMs - sinceMs > FORGIVE_MS) s.late.delete(host)
      for (const [host, slow] of s.slow) {
        slow.avoided = env.nowMs < slow.untilMs
        if (env.nowMs > slow.untilMs + SLOW_MAX_MS) s.slow.delete(host)
      }
      break
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
    else if (a.step === 'sealing' && env.nowMs >= a.deadlineMs) overdue(s, a, env, out)
    else if (a.step === 'confirming' && a.unread && env.nowMs >= a.deadlineMs) { a.unread = false; out.push({ type: 'readClaim' }) }
    return
  }
  if (env.nowMs < s.notBeforeMs) return
  if (s.phase === 'serving') {
    if (mayChange(s) && isOutdated(s)) beginOwn(s, env, out, UNCHANGED)
    return
  }
  if (s.wanted && s.phase !== 'failed') beginTake(s, env, out)
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

/**
 * Others are not waited for any longer. The own region of a running owner is: it answers or fails, and a process that stood still
 * for a while hears of the deadline first.
 */
function overdue(s: OwnershipState, a: Attempt, env: Env, out: OwnershipEffect[]): void {
  const self = a.kind === 'own' ? a.awaiting.filter((m) => sameMember(m, s.self)) : []
  if (self.length === 0) { decide(s, env, out); return }
  for (const m of a.awaiting) if (!sameMember(m, s.self)) s.late.set(m.host, env.nowMs)
  a.awaiting = self
  a.deadlineMs = Infinity
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
  const formatted = (m: Member): boolean => [s.self, ...s.reachable].some((r) => r.host === m.host && !sameMember(r, m))
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
    : claim.set.filter((m) => !s.inheritedDone && !s.late.has(m.host) && !(set.length > 1 && isSlow(s, m))).map((m) => s.reachable.find((r) => sameMember(r, m)) ?? m)
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

/** It is in nobody's way for a while, and after that takes only a place that is free: nothing goes back and forth. */
function onSlow(s: OwnershipState, host: string, env: Env): void {
  const before = s.slow.get(host)
  if (before?.avoided === true) return
  const times = (before?.times ?? 0) + 1
  s.slow.set(host, { avoided: true, times, untilMs: env.nowMs + Math.min(SLOW_MS * 2 ** (times - 1), SLOW_MAX_MS) })
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
