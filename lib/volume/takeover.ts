/**
 * `holdfast volume takeover`: an operator wants this host to own the volume. It is the takeover that a guest's start brings
 * about, with two answers that only a person can give: that the old owner is off, and that what cannot be reached may be lost.
 *
 * Nothing that the command said outlives it, whatever its end: an acceptance is for the claim that was looked at.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Claim, Member } from '../core/claim.js'
import { sameMember } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { isReleased } from '../core/transition.js'
import { limits } from '../limits.js'
import type { TakeoverLoss, TakeoverRequest } from '../ports/control.js'
import type { CutJournal } from '../ports/io.js'
import type { OwnershipDriver } from './ownership-driver.js'

export interface TakeoverShell {
  readonly name: string
  readonly driver: OwnershipDriver
  readonly journal: CutJournal | null
  readonly image: string
  serving(): boolean
  /** A guest here wants the volume anyway. */
  wanted(): boolean
  nowMs(): number
  warn(message: string): void
}

export interface TakenOver { readonly epoch: number; readonly from: string | null; readonly quarantine: boolean; readonly lost: TakeoverLoss | null }

/** Resolves when the volume is served here. Throws Failure; then nothing was changed. `gone`: nobody waits for it any more. */
export async function takeover(shell: TakeoverShell, request: TakeoverRequest, gone: AbortSignal): Promise<TakenOver> {
  const { driver, name } = shell, { state } = driver
  if (shell.serving()) throw new Failure(EXIT.unsafe, `volume ${name} is served by this host already (epoch ${state.claim!.epoch}; nothing was changed)`)
  if (state.phase === 'failed') throw new Failure(EXIT.unsafe, `volume ${name} is not served because of this: ${state.reason} (nothing was changed)`)
  await driver.readClaim()
  const claim = state.claim
  checkFence(name, claim, request.fenced, state.reachable)
  if (request.acceptLoss !== null) await checkLoss(shell, claim, state.self, state.reachable)
  const lost = request.acceptLoss === null ? null : lossOf(claim!)
  const acceptLoss = lost === null ? null : lossText(claim!, lost, state.self.host, request.acceptLoss!)
  if (request.fenced !== null) shell.warn(`an operator says that ${request.fenced}, the owner of volume ${name} at epoch ${claim!.epoch}, is powered off`)
  driver.dispatch({ type: 'order', order: { epoch: claim?.epoch ?? (0 as never), fenced: request.fenced !== null, acceptLoss } })
  try {
    await owned(shell, claim, request, gone)
  } finally {
    driver.dispatch({ type: 'order', order: null })
    if (!shell.serving() && !shell.wanted()) driver.dispatch({ type: 'unwant' })
  }
  const now = state.claim!
  const gave = lost !== null && now.acceptedLoss?.atEpoch === claim!.epoch ? lost : null
  if (gave !== null) shell.warn(`volume ${name}: an operator accepted a loss: ${now.acceptedLoss!.reason}`)
  return { epoch: now.epoch, from: claim?.owner.host ?? null, quarantine: now.quarantine, lost: gave }
}

/** Whoever vouches for a host that is off says which one; one that answers is not off. */
function checkFence(name: string, claim: Claim | null, fenced: string | null, reachable: readonly Member[]): void {
  if (fenced === null) return
  const unchanged = '(nothing was changed)'
  if (claim === null) throw new Failure(EXIT.usage, `volume ${name} has no owner yet, so nobody has to be fenced; take it over without --force ${unchanged}`)
  const { owner } = claim
  if (owner.host !== fenced) throw new Failure(EXIT.unsafe, `volume ${name} is owned by ${owner.host} and not by ${fenced}; it is ${owner.host} that must be powered off ${unchanged}`)
  if (reachable.some((m) => m.host === fenced)) {
    throw new Failure(EXIT.unsafe, `host ${fenced} answers, so it is not powered off; take the volume over without --force, or power ${fenced} off and wait ${limits.peerIdleMs / 1000} s ${unchanged}`)
  }
}

/** A loss is accepted only where there is no other way. */
async function checkLoss({ name, journal, image }: TakeoverShell, claim: Claim | null, self: Member, reachable: readonly Member[]): Promise<void> {
  const needless = (why: string): Failure => new Failure(EXIT.unsafe, `volume ${name}: ${why}, so nothing need be lost; take it over without --accept-data-loss (nothing was changed)`)
  if (claim === null) throw needless('nobody ever had it')
  if (isReleased(claim)) throw needless(`${claim.owner.host} stopped cleanly`)
  if (claim.mode === 'write-through') throw needless('it was in write-through, and everything acknowledged is on the backing')
  const there = claim.set.filter((m) => sameMember(m, self) || reachable.some((r) => sameMember(r, m))).map((m) => m.host)
  if (there.length > 0) throw needless(`${there.join(', ')} of {${claim.set.map((m) => m.host).join(', ')}} can be asked and has everything`)
  const left = await journal?.pending() ?? null
  await journal?.forget()
  if (left === null) return
  // Half of the cut may be on the image; the logs that would complete it are what is given up.
  throw new Failure(EXIT.unsafe, `volume ${name}: without its logs the image needs its journal (write ${left.cut}), which may not be on it; ` +
    `"holdfast journal apply ${image}" first, on one host, then this again (nothing was changed)`)
}

const lossOf = (claim: Claim): TakeoverLoss => ({
  epoch: claim.epoch, afterWon: claim.base, knownToWon: claim.start, hosts: [...new Set([...claim.set, ...claim.inherited.flatMap((log) => log.holders)].map((m) => m.host))],
})

function lossText(claim: Claim, { epoch, afterWon, knownToWon, hosts }: TakeoverLoss, self: string, reason: string): string {
  const range = knownToWon > afterWon ? `writes ${afterWon + 1} to ${knownToWon} and all later ones of epoch ${epoch}` : `the writes of epoch ${epoch}, from ${afterWon + 1} on`
  return `${self} took over from ${claim.owner.host} without {${hosts.join(', ')}}, which could not be reached: ${range} are lost where they were not on the backing; ${reason}`
}

/** Follows the attempt, and ends it where waiting cannot help. */
async function owned({ name, driver, serving, nowMs }: TakeoverShell, claim: Claim | null, request: TakeoverRequest, gone: AbortSignal): Promise<void> {
  const { state } = driver, { policy } = state, owner = claim?.owner.host ?? 'nobody'
  const untilMs = nowMs() + policy.deadAfterMs + (claim?.mode === 'write-through' ? policy.quarantineMs : 0) + policy.powerLossWaitMs + 3 * policy.sealTimeoutMs + limits.claimTimeoutMs
  const no = (why: string, todo: string): Failure => new Failure(EXIT.unsafe, `volume ${name}: ${why}; ${todo} (nothing was changed)`)
  let beats: string | null = null, moves = 0
  for (; !serving(); await sleep(limits.takeoverPollMs)) {
    const { obstacle, reason, beat } = state
    if (state.phase === 'failed') throw new Failure(EXIT.damaged, `volume ${name}: ${reason}`)
    if (gone.aborted) throw no('nobody waits for this takeover any more', 'it was called off')
    if (obstacle === 'held') throw no(reason!, `stop the guest on ${owner}, or migrate it: a running guest is not taken away`)
    if (obstacle === 'unsealed') {
      throw no(reason!, 'start one of these hosts; if all of them are gone for ever, --accept-data-loss REASON goes on with what is on the backing')
    }
    if (obstacle === 'silent') {
      const seen = `${beat?.epoch}/${beat?.counter}`
      if (beats !== null && seen !== beats) moves++
      beats = seen
      // The last beat of an owner that has just died may be seen late; of one that is off already, none is.
      if (moves > (request.fenced === null ? 1 : 0)) {
        throw no(`${owner} does not answer, but its heartbeat goes on, so it is alive`, request.fenced === null
          ? `look at the network between the hosts; or stop the volume there, or power ${owner} off and say --force --fenced ${owner}` : `it is not ${owner} that was powered off`)
      }
    }
    if (nowMs() > untilMs) throw new Failure(EXIT.unreachable, `volume ${name} could not be taken over in time: ${reason ?? state.phase}; look at "holdfast status" on all hosts, and try again`)
  }
}
