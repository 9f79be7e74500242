/**
 * Where a volume's copies go, when no operator has said it: onto hosts that the volume has lived on (most VMs visit only two, and
 * the copy is then local after a migration), into other fault domains, and else spread by a hash of volume and host. Of the hosts
 * that are left when one goes, or are there when one comes, each volume asks anew and most get the same answer: few copies move.
 */
import { assert } from './assert.js'
import { hasMember, sameMember, type Claim, type Member } from './claim.js'

/** Fault domain by host: of each host or of none (the configuration sees to it). */
export type Domains = ReadonlyMap<string, string>

export interface PlacementWish {
  /** Id of the volume. */
  readonly volume: string
  readonly self: Member
  /** Who could have a copy now. */
  readonly candidates: readonly Member[]
  /** The newest claim; null: nobody ever had the volume. */
  readonly claim: Claim | null
  readonly copies: number
  readonly domains: Domains
}

/**
 * The members that would have a copy, best first. Members of the present set come first whatever else is said for others: a better
 * host that comes back moves nothing by itself, and who replaces a member is chosen from those that are there.
 */
export function placeCopies({ volume, self, candidates, claim, copies, domains }: PlacementWish): Member[] {
  const chosen: Member[] = [], left = candidates.filter((m) => m.host !== self.host)
  while (chosen.length < copies && left.length > 0) {
    let best = 0
    for (let i = 1; i < left.length; i++) if (better(left[i]!, left[best]!)) best = i
    chosen.push(...left.splice(best, 1))
  }
  return chosen

  function better(a: Member, b: Member): boolean {
    const byAttachment = attachment(claim, a) - attachment(claim, b)
    if (byAttachment !== 0) return byAttachment < 0
    const byDomain = nearness(a) - nearness(b)
    if (byDomain !== 0) return byDomain < 0
    const [wasA, wasB] = [a, b].map((m) => claim !== null && sameMember(claim.owner, m))
    if (wasA !== wasB) return wasA === true
    const [hashA, hashB] = [weight(volume, a.host), weight(volume, b.host)] as const
    return hashA !== hashB ? hashA > hashB : a.host < b.host
  }

  /** 2: beside the owner, 1: beside another copy, 0: apart from all, or nothing is known of domains. */
  function nearness({ host }: Member): number {
    if (sharesDomain(domains, host, self.host)) return 2
    return chosen.some((m) => sharesDomain(domains, host, m.host)) ? 1 : 0
  }
}

export const sharesDomain = (domains: Domains, a: string, b: string): boolean => domains.has(a) && domains.get(a) === domains.get(b)

/** 0: in the present set, 1: the claim names it otherwise, also as what it was before it was formatted anew, 2: a stranger. */
function attachment(claim: Claim | null, m: Member): number {
  if (claim === null) return 2
  if (hasMember(claim.set, m)) return 0
  return [claim.owner, ...claim.set, ...claim.inherited.flatMap((log) => log.holders)].some(({ host }) => host === m.host) ? 1 : 2
}

/** FNV-1a with murmur3's finalizer, because host names differ in their last letters and the hash is to differ in all bits. */
function weight(volume: string, host: string): number {
  let h = 0x811c9dc5
  for (const text of [volume, '/', host]) {
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** Which copies share the owner's fault domain although hosts elsewhere are configured; null: none. For people. */
export function crowding(owner: string, set: readonly string[], hosts: readonly string[], reachable: readonly string[], domains: Domains): string | null {
  assert(set.includes(owner), 'the owner is a member of its own set')
  const beside = set.filter((host) => host !== owner && sharesDomain(domains, host, owner))
  const apart = hosts.filter((host) => host !== owner && !set.includes(host) && !sharesDomain(domains, host, owner))
  if (beside.length === 0 || apart.length === 0) return null
  const others = apart.map((host) => `${host} (${reachable.includes(host) ? '' : 'not reachable, '}${domains.get(host)!})`).join(', ')
  return `the copy on ${beside.join(' and ')} is in the owner's fault domain ${domains.get(owner)!}; elsewhere there ${apart.length === 1 ? 'is' : 'are'} ${others}`
}
