/**
 * The claim: the one small shared record of a volume. Everything about ownership that two hosts must agree on is in
 * it, and it changes only by compare-and-swap on `epoch` (reference: the ownership protocol, section 2).
 */
import type { BlockSample, Fingerprint } from './fingerprint.js'
import type { Epoch, Won } from './units.js'

/** A host together with the random id of its region: a reformatted host is another, empty member (R5). */
export interface Member {
  readonly host: string
  /** 32 hexadecimal digits, made when the region is formatted. */
  readonly incarnation: string
  /**
   * How often its region had lost its power, absent for never. Who comes back with more than the claim says may lack what it had
   * confirmed, as far as no flush covered it.
   */
  readonly powerLosses?: number
}

/** A sealed log whose records are not all on the backing yet. */
export interface InheritedLog {
  readonly epoch: Epoch
  /** Won before its first record: record i of the log has won start + i, i from 1. */
  readonly start: Won
  /** Records that count. What a holder has beyond them never existed. */
  readonly kept: number
  /** Only members that were sealed (R4b): each of them can serve all that is kept. */
  readonly holders: readonly Member[]
}

export type ClaimMode = 'write-back' | 'write-through'

/** What the guest sees of the volume; travels with ownership so that it never changes under a running guest. */
export interface GuestView {
  readonly capacityBytes: number
  readonly blockSizeBytes: number
  readonly serial: string
  readonly durability: 'flush' | 'write'
  readonly discards: boolean
}

export interface Claim {
  readonly format: 1
  /** UUID of the volume. */
  readonly volume: string
  readonly epoch: Epoch
  readonly owner: Member
  /** Every member has a record before it is acknowledged; {owner} in write-through. Includes the owner. */
  readonly set: readonly Member[]
  readonly mode: ClaimMode
  /** Won before this epoch's first record. */
  readonly start: Won
  /** Oldest first. */
  readonly inherited: readonly InheritedLog[]
  /** Everything up to here is on the backing, flushed: a lower bound, the holders know better. */
  readonly base: Won
  /** Writes of an earlier owner may still be on their way to the backing (R8b). */
  readonly quarantine: boolean
  readonly guest: GuestView
  /** Random; lets a writer recognise its own change after an unknown outcome. 32 hexadecimal digits. */
  readonly nonce: string
  /**
   * The owner sealed itself with nothing dirty and no backing write outstanding: anyone may take over at once, and
   * the hand-over is clean. Set by a clean stop only.
   */
  readonly released?: true
  /** The backing at a clean stop; only beside `released` (H63). */
  readonly fingerprint?: Fingerprint
  /** What the cut that ended at this claim's `base` wrote at some places; absent: nobody vouches for any (H64). */
  readonly samples?: readonly BlockSample[]
  /** A loss that an operator accepted, kept for ever. */
  readonly acceptedLoss?: { readonly atEpoch: Epoch; readonly reason: string }
}

/** What never happened is not said. */
export const memberOf = ({ host, incarnation, powerLosses = 0 }: { readonly host: string; readonly incarnation: string; readonly powerLosses?: number }): Member =>
  powerLosses === 0 ? { host, incarnation } : { host, incarnation, powerLosses }

/** A host with its region, whatever has happened to it since. */
type Identity = Pick<Member, 'host' | 'incarnation'>

export const sameMember = (a: Identity, b: Identity): boolean => a.host === b.host && a.incarnation === b.incarnation
/** Since the other was said of it. */
export const lostPowerSince = (now: Pick<Member, 'powerLosses'>, then: Pick<Member, 'powerLosses'>): boolean => (now.powerLosses ?? 0) > (then.powerLosses ?? 0)
export const hasMember = (set: readonly Identity[], m: Identity): boolean => set.some((x) => sameMember(x, m))
