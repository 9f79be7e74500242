/**
 * The one transition: a claim change, as a pure decision. Who may ask for it and when is `ownership.ts`; what the
 * next claim says, given who was sealed and what they reported, is here.
 */
import { assert } from './assert.js'
import { hasMember, lostPowerSince, sameMember, type Claim, type ClaimMode, type GuestView, type InheritedLog, type Member } from './claim.js'
import type { BlockSample } from './fingerprint.js'
import { epoch, won, type Epoch, type Won } from './units.js'

/** What a member said when it was sealed. */
export interface SealReport {
  readonly member: Member
  /** Records of the sealed epoch's log that it stores. */
  readonly length: number
  readonly base: Won
  /** Only the old owner itself can say so: none of its backing writes is outstanding. */
  readonly quiet: boolean
  /** Logs of earlier epochs that it stores, power-safe. */
  readonly older?: readonly StoredLog[]
  /** As the member's; absent: none. */
  readonly powerLosses?: number
  /** What the cut that ended at its base wrote, as far as it knows. */
  readonly samples?: readonly BlockSample[]
}

/** A log that a member has, and how many records of it: what lies below its base counts as stored. */
export interface StoredLog { readonly epoch: Epoch; readonly length: number }

export interface ChangeWish {
  readonly self: Member
  readonly set: readonly Member[]
  readonly mode: ClaimMode
  readonly nonce: string
  /** Quarantine has passed, and everything above base was written again and flushed since (R8c). */
  readonly clearQuarantine: boolean
  readonly released: boolean
  /** The disk as the guest shall see it; null: as before. It only grows. */
  readonly capacityBytes: number | null
  /** Epochs whose log is not what it was on this host: it vouches for none of them any more, where another member does. */
  readonly damagedHere: ReadonlySet<Epoch>
  /** The shared storage itself refuses the owner of this epoch: nothing that it has sent can land any more (4.3). */
  readonly storageFenced?: boolean
}

export type Decision =
  | { readonly ok: true; readonly next: Claim; /** Records of the sealed epoch that count. */ readonly kept: number }
  | { readonly ok: false; readonly reason: string }

const no = (reason: string): Decision => ({ ok: false, reason })

/** Its log of this epoch may be shorter than what it confirmed: the power was lost since the epoch began. */
export const mayLack = (claim: Claim, report: SealReport): boolean => {
  const then = claim.set.find((m) => sameMember(m, report.member))
  return then !== undefined && lostPowerSince(report, then)
}

/**
 * R4: each sealed member has every acknowledged record, so the shortest is enough, and each can serve all of it. One that has lost
 * its power proves nothing by being short; where only such are left, the longest has most of what no flush covered.
 * What is at or below base counts as held: its records may be freed already, but their numbers were used.
 */
function keptOf(claim: Claim, reports: readonly SealReport[], base: Won): number {
  const sure = reports.filter((r) => !mayLack(claim, r)).map((r) => lengthOf(claim, r, base))
  return sure.length > 0 ? Math.min(...sure) : Math.max(...reports.map((r) => lengthOf(claim, r, base)))
}

const lengthOf = (claim: Claim, { length }: SealReport, base: Won): number => Math.max(length, base - claim.start)

/** The first claim of a volume: nobody to seal, nothing inherited. */
export function firstClaim(volume: string, guest: GuestView, wish: ChangeWish): Claim {
  return {
    format: 1, volume, epoch: epoch(1), owner: wish.self, set: wish.set, mode: wish.mode, start: won(0),
    inherited: [], base: won(0), quarantine: false, guest, nonce: wish.nonce,
  }
}

/** True when this claim's owner needs no sealing: it stopped cleanly and said so. */
export const isReleased = (claim: Claim): boolean => claim.released === true

/**
 * A dead write-through owner was waited out, and nobody can say how many records it made: the numbers it may have
 * used are skipped, because a won is never used twice.
 */
export const WAITED_OUT_GAP = 2 ** 36

/**
 * Decides the claim that follows `claim`, given the members sealed at its epoch.
 * `running`: the wish comes from the owner that serves this very epoch. `waitedOut`: nobody was sealed, but the
 * write-through owner is dead, T_q has passed and the backing was flushed since (R14).
 */
export function decideChange(
  claim: Claim, reports: readonly SealReport[], wish: ChangeWish, running: boolean, waitedOut = false,
): Decision {
  for (const r of reports) assert(hasMember(claim.set, r.member), 'only members of the recorded set are sealed (R1, R5)')
  const nobody = reports.length === 0
  if (nobody && !isReleased(claim) && !waitedOut) {
    return no(claim.mode === 'write-through'
      ? 'the previous owner could not be sealed; its last writes may still be on their way to the backing'
      : `no member of the set {${claim.set.map((m) => m.host).join(', ')}} can be reached, and without one of them acknowledged data would be missing`)
  }
  const base = won(Math.max(claim.base, ...reports.map((r) => r.base)))
  const kept = nobody ? (waitedOut ? WAITED_OUT_GAP : 0) : keptOf(claim, reports, base)
  const end = won(claim.start + kept)
  assert(end >= base, 'base never passes the end of the log')
  const inherited = keptLogs(claim, base, end, kept, reports).map((log) => leaveDamaged(log, wish))
  const ownerQuiet = reports.some((r) => sameMember(r.member, claim.owner) && r.quiet)
  const quarantine = wish.clearQuarantine
    ? false
    : claim.quarantine || !(running || ownerQuiet || isReleased(claim) || waitedOut || wish.storageFenced === true)

  assert(hasMember(wish.set, wish.self), 'the owner is a member of its own set')
  if (wish.mode === 'write-through') {
    if (inherited.length > 0 || quarantine) return no('write-through needs everything on the backing first (R13)')
    assert(wish.set.length === 1, 'in write-through the set is the owner')
  }
  if (wish.released && (inherited.length > 0 || quarantine)) return no('a release needs everything on the backing first')
  assert(!wish.clearQuarantine || running, 'only the running owner has watched the quarantine pass (R8c)')
  // A fingerprint is of a backing that nobody serves, samples are of one base.
  const { released: _released, fingerprint: _fingerprint, samples: _samples, ...carried } = claim
  const samples = wish.mode === 'write-through' ? undefined : samplesAt(base, claim, reports)
  const capacityBytes = wish.capacityBytes ?? claim.guest.capacityBytes
  assert(capacityBytes >= claim.guest.capacityBytes, 'a disk never shrinks under its guest')
  const next: Claim = {
    ...carried, epoch: epoch(claim.epoch + 1), owner: wish.self, set: wish.set.map((m) => asReported(m, reports)), mode: wish.mode, start: end, inherited, base,
    quarantine, guest: { ...claim.guest, capacityBytes }, nonce: wish.nonce, ...(wish.released ? { released: true as const } : {}),
    ...(samples === undefined ? {} : { samples }),
  }
  assertNext(claim, reports, next, kept, wish)
  return { ok: true, next, kept }
}

/** The next epoch begins with its members as they are now. */
function asReported(member: Member, reports: readonly SealReport[]): Member {
  const report = reports.find((r) => sameMember(r.member, member))
  return report === undefined || !lostPowerSince(report, member) ? member : { ...member, powerLosses: report.powerLosses! }
}

/** What every next claim has to be, whatever led to it. */
function assertNext(claim: Claim, reports: readonly SealReport[], next: Claim, kept: number, wish: ChangeWish): void {
  for (const r of reports) assert(mayLack(claim, r) || lengthOf(claim, r, next.base) >= kept, `${r.member.host} was sealed and has everything that is kept (R4)`)
  const sealed = next.inherited.find((log) => log.epoch === claim.epoch)
  assert(sealed === undefined || sealed.holders.every((m) => reports.some((r) => sameMember(r.member, m))), 'only who was sealed is named as a holder (R4b)')
  assert(reports.length > 0 || claim.mode === 'write-through' || isReleased(claim), 'nobody goes on from write-back without a sealed member (R5b)')
  assert(next.quarantine || !claim.quarantine || wish.clearQuarantine, 'quarantine stays in the claim (R8b)')
  assert(next.inherited.every((log) => log.start + log.kept > next.base), 'nothing that base covers is inherited (R12)')
  assert(next.mode === 'write-back' || (next.inherited.length === 0 && !next.quarantine), 'write-through begins with everything on the backing (R13)')
}

/**
 * Samples are believed only of exactly this base. A member that has the base and no samples vouches for none: its host
 * took them back before it wrote to the backing what no log might show (write-through).
 */
function samplesAt(base: Won, claim: Claim, reports: readonly SealReport[]): readonly BlockSample[] | undefined {
  const there = reports.filter((r) => r.base === base)
  if (there.length === 0) return claim.base === base ? claim.samples : undefined
  return there.every((r) => r.samples !== undefined) ? there[0]!.samples : undefined
}

/**
 * The claim of an owner that serves nothing, with all that is dirty given up for ever: the backing as it is counts as
 * the disk. A quarantine goes on, because a late write can still land on that backing.
 */
export function giveUpDirty(claim: Claim, nonce: string, reason: string): Claim {
  return { ...withoutWitnesses(claim), epoch: epoch(claim.epoch + 1), inherited: [], base: claim.start, nonce, acceptedLoss: lossIn(claim, reason) }
}

/**
 * R5b, accepted by an operator: no member of the set could be sealed, so the backing as it is counts as the disk. Nobody
 * can say how many records there were: their numbers are skipped, and base hides every log that comes back (R12). The owner
 * may only be silent, so a late write can still land.
 */
export function giveUpUnsealed(claim: Claim, wish: ChangeWish, reason: string): Claim {
  assert(claim.mode === 'write-back' && !isReleased(claim), 'only a log can be lost')
  assert(hasMember(wish.set, wish.self), 'the owner is a member of its own set')
  const end = won(claim.start + WAITED_OUT_GAP)
  return {
    ...withoutWitnesses(claim), epoch: epoch(claim.epoch + 1), owner: wish.self, set: wish.set, mode: 'write-back', start: end, base: end, inherited: [],
    quarantine: claim.quarantine || wish.storageFenced !== true, nonce: wish.nonce, acceptedLoss: lossIn(claim, reason),
  }
}

/** What is said of a backing that is not what it was holds no more. */
function withoutWitnesses(claim: Claim): Omit<Claim, 'released' | 'fingerprint' | 'samples'> {
  const { released: _released, fingerprint: _fingerprint, samples: _samples, ...carried } = claim
  return carried
}

/** With the losses before. */
function lossIn({ epoch: atEpoch, acceptedLoss }: Claim, reason: string): NonNullable<Claim['acceptedLoss']> {
  const before = acceptedLoss === undefined ? '' : `; before, at epoch ${acceptedLoss.atEpoch}: ${acceptedLoss.reason}`
  return { atEpoch, reason: `${reason}${before}`.slice(0, ACCEPTED_LOSS_CHARACTERS) }
}

export const ACCEPTED_LOSS_CHARACTERS = 1000

/** Logs that still hold something above base, oldest first, the sealed one last with only the sealed as holders (R4b). */
function keptLogs(claim: Claim, base: Won, end: Won, kept: number, reports: readonly SealReport[]): InheritedLog[] {
  const older = claim.inherited.filter((log) => log.start + log.kept > base).map((log) => withCopies(log, reports))
  if (kept === 0 || end <= base || reports.length === 0) return older
  return [...older, { epoch: claim.epoch, start: claim.start, kept, holders: reports.filter((r) => lengthOf(claim, r, base) >= kept).map((r) => r.member) }]
}

/**
 * A sealed log cannot change, so a member that has all that is kept of it can serve it, wherever it has it from. It says so when it
 * is sealed, and only then counts: sealed at this epoch it takes no append of an earlier one (R4b), and what it said is power-safe.
 */
function withCopies(log: InheritedLog, reports: readonly SealReport[]): InheritedLog {
  const copies = reports.filter(({ member, older }) => !hasMember(log.holders, member) && older?.some(({ epoch, length }) => epoch === log.epoch && length >= log.kept))
  return copies.length === 0 ? log : { ...log, holders: [...log.holders, ...copies.map(({ member }) => member)].slice(-HOLDERS_MAX) }
}

/** Of one log; the newest ones are named. */
export const HOLDERS_MAX = 8

/** R4b allows taking a holder away; the last one stays, damaged or not. */
function leaveDamaged(log: InheritedLog, { self, damagedHere }: ChangeWish): InheritedLog {
  const others = log.holders.filter((m) => !sameMember(m, self))
  return damagedHere.has(log.epoch) && others.length > 0 ? { ...log, holders: others } : log
}

/** Which members the policy would have now, in order of preference, those of the present set first. */
export function chooseReplicas(
  self: Member, preferred: readonly string[], reachable: readonly Member[], present: readonly Member[], copies: number,
): Member[] {
  const candidates = preferred
    .map((host) => reachable.find((m) => m.host === host))
    .filter((m): m is Member => m !== undefined && m.host !== self.host)
  const staying = candidates.filter((m) => hasMember(present, m))
  const joining = candidates.filter((m) => !hasMember(present, m))
  return [...staying, ...joining].slice(0, copies)
}

/** The answer to "may an append of this epoch be stored here?" (R3, R5): null, or why not. */
export function refuseAppend(sealed: Epoch, claimEpoch: Epoch, set: readonly Member[], self: Member): string | null {
  if (claimEpoch <= sealed) return `epoch ${claimEpoch} is sealed here (sealed up to ${sealed})`
  if (!hasMember(set, self)) return `${self.host}/${self.incarnation.slice(0, 8)} is not a member of epoch ${claimEpoch}`
  return null
}
