/**
 * How many copies a volume is to have and who has them: what policy, exemption and the hosts in reach come to, why it is
 * less than was asked for, and whether the claim is to be changed for it.
 */
import { hasMember, lostPowerSince, sameMember, type Claim, type ClaimMode, type InheritedLog, type Member } from './claim.js'
import type { OwnershipState } from './ownership-state.js'
import { placeCopies } from './placement.js'
import { chooseReplicas } from './transition.js'
import type { Epoch } from './units.js'

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

/** The recorded set or mode is not what policy and reachability ask for, and a claim change can mend it. */
export function isOutdated(s: OwnershipState): boolean {
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
  return lateMember !== undefined || leavesDamaged(s, claim) || powerBack ||
    (desired.mode !== claim.mode && can) ||
    (claim.mode === 'write-back' && joins && others.length < s.policy.copies) ||
    (claim.mode === 'write-back' && joins && others.some((m) => isSlow(s, m) && !hasMember(desired.set, m))) ||
    (claim.mode === 'write-back' && leaves && desired.mode === 'write-back' && (joins || s.inheritedDone)) ||
    // R-migration: the source stays in the set until what it holds is on the backing.
    (claim.mode === 'write-back' && spare && s.inheritedDone && others.length > s.policy.copies)
}

/** Inherited logs that this owner has no copy of, with fewer holders in reach than the policy asks for. */
export const thinElsewhere = (s: OwnershipState): readonly InheritedLog[] => s.phase !== 'serving' || s.claim === null || s.inheritedDone ? []
  : s.claim.inherited.filter((log) => !hasMember(log.holders, s.self) && holdersInReach(s, log) <= s.policy.copies)

const holdersInReach = (s: OwnershipState, log: InheritedLog): number =>
  log.holders.filter((m) => sameMember(m, s.self) || s.reachable.some((r) => sameMember(r, m))).length

/** The log has fewer holders in reach than the policy asks for. With enough of them the next change names the new one as well. */
export function addsHolder(s: OwnershipState, host: string, epoch: Epoch): boolean {
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

/** Others are better, for a while. */
export const isSlow = (s: OwnershipState, { host }: Pick<Member, 'host'>): boolean => s.slow.get(host)?.avoided === true

/** Members that confirm slowly, and stay because there is nobody else. */
export const slowMembers = (s: OwnershipState): readonly string[] =>
  s.phase !== 'serving' ? [] : s.claim!.set.filter((m) => m.host !== s.self.host && isSlow(s, m)).map((m) => m.host)

/** Who can have copies now: as many as the policy asks for, or fewer. */
export function replicasNow(s: OwnershipState): Member[] {
  const ok = s.reachable.filter((m) => !s.late.has(m.host) && !s.leaving.includes(m.host))
  const swift = choose(s, ok.filter((m) => !isSlow(s, m)))
  // A slow copy is better than none.
  return swift.length === s.policy.copies ? swift : choose(s, ok)
}

function choose(s: OwnershipState, candidates: readonly Member[]): Member[] {
  const { replicas: hosts, copies, domains } = s.policy
  return domains == null ? chooseReplicas(s.self, hosts, candidates, s.claim?.set ?? [], copies)
    : placeCopies({ volume: s.claim?.volume ?? s.volume.newId, self: s.self, candidates: candidates.filter((m) => hosts.includes(m.host)), claim: s.claim, copies, domains })
}

export function plan(s: OwnershipState): { set: Member[]; mode: ClaimMode } {
  const replicas = replicasNow(s)
  if (s.policy.mode === 'write-through' || replicas.length < leastCopies(s)) return { set: [s.self], mode: 'write-through' }
  return { set: [s.self, ...replicas], mode: 'write-back' }
}
