/**
 * Agreement over one shared disk without compare-and-swap (Disk Paxos, Gafni and Lamport): each host writes only its own block
 * and reads everybody's. One instance of it for each thing to agree on, in order: instance k + 1 begins only after what was decided
 * in k stands in a block.
 *
 * Why no two values are ever chosen in an instance: a host that proposes writes its promise before it reads the others. Of two
 * hosts, the one that reads later sees the other's write. So either the one with the lower ballot sees the higher promise and
 * stops, or the one with the higher ballot sees the lower one's vote and takes over its value.
 *
 * What is asked of the shell:
 *   a block that was written whole is read by everybody afterwards, until its host writes the next one;
 *   a write that was cut short, or whose outcome is not known, has either no effect or, at any time later, that of a block which
 *   is older than every one written since: the session ends with it, and the next one is a proposer of another number.
 */

/** Rounds first; a proposer (session and slot) has its numbers for itself, so that no two ballots are the same. */
export interface Ballot { readonly round: number; readonly session: number; readonly slot: number }
export interface Vote<V> { readonly ballot: Ballot; readonly value: V }
export interface Decision<V> { readonly instance: number; readonly value: V }

/** What a host's newest block says. */
export interface PaxosBlock<V> {
  readonly instance: number
  /** It votes in no lower ballot of this instance. */
  readonly promised: Ballot
  readonly vote: Vote<V> | null
  /** The last decision that this host has written, kept until it writes a later one. */
  readonly decided: Decision<V> | null
}

export type Prepared<V> =
  | { readonly kind: 'decided'; readonly decision: Decision<V> }
  /** The instance before it is not decided yet. */
  | { readonly kind: 'early' }
  | { readonly kind: 'write'; readonly block: PaxosBlock<V> }

export type Seen<V> =
  | { readonly kind: 'decided'; readonly decision: Decision<V> }
  /** Somebody has a higher ballot: a new one of our own is needed. */
  | { readonly kind: 'outbid' }
  | { readonly kind: 'mine' }

export function compareBallots(a: Ballot, b: Ballot): number {
  return a.round - b.round || a.session - b.session || a.slot - b.slot
}

export function newestDecision<V>(blocks: readonly PaxosBlock<V>[]): Decision<V> | null {
  return blocks.reduce<Decision<V> | null>((newest, { decided }) => (decided !== null && (newest === null || decided.instance > newest.instance) ? decided : newest), null)
}

/** The first write of a ballot: a promise. `own` is this slot's newest block, `others` those of all other slots. */
export function prepare<V>(own: PaxosBlock<V> | null, others: readonly PaxosBlock<V>[], instance: number, proposer: Omit<Ballot, 'round'>): Prepared<V> {
  const all = own === null ? others : [own, ...others], newest = newestDecision(all)
  if (newest !== null && newest.instance >= instance) return { kind: 'decided', decision: newest }
  if ((newest?.instance ?? -1) < instance - 1) return { kind: 'early' }
  const round = 1 + Math.max(0, ...all.filter((block) => block.instance === instance).map(({ promised }) => promised.round))
  const vote = own !== null && own.instance === instance ? own.vote : null
  return { kind: 'write', block: { instance, promised: { round, ...proposer }, vote, decided: own?.decided ?? null } }
}

/** After each write of a ballot and a reading of the others that began when it was whole on the disk. */
export function look<V>(own: PaxosBlock<V>, others: readonly PaxosBlock<V>[]): Seen<V> {
  const newest = newestDecision(others)
  if (newest !== null && newest.instance >= own.instance) return { kind: 'decided', decision: newest }
  // One that is ahead saw a decision which this reading was too early for.
  const outbid = others.some((block) => block.instance > own.instance || (block.instance === own.instance && compareBallots(block.promised, own.promised) > 0))
  return { kind: outbid ? 'outbid' : 'mine' }
}

/** What must be voted for after a promise that nobody outbid: the value of the highest vote, our own earlier one included. */
export function bound<V>(own: PaxosBlock<V>, others: readonly PaxosBlock<V>[]): Vote<V> | null {
  return [own, ...others].filter((block) => block.instance === own.instance)
    .reduce<Vote<V> | null>((highest, { vote }) => (vote !== null && (highest === null || compareBallots(vote.ballot, highest.ballot) > 0) ? vote : highest), null)
}

export const withVote = <V>(own: PaxosBlock<V>, value: V): PaxosBlock<V> => ({ ...own, vote: { ballot: own.promised, value } })
/** Only when nobody outbid the vote: it is chosen. Written before anybody is told. */
export const withDecision = <V>(own: PaxosBlock<V>): PaxosBlock<V> => ({ ...own, decided: { instance: own.instance, value: own.vote!.value } })

// --- where a slot's next block goes -----------------------------------------------------------------------------------------------

/** Places of a slot: so many for each of the sessions that take turns. */
export const PLACES_PER_SESSION = 3
export const SESSION_TURNS = 2
export const PLACES = PLACES_PER_SESSION * SESSION_TURNS

/**
 * Never over the newest block, nor over the one whose text the newest decision is read from; and never where the session before may
 * have a write under way that comes late.
 */
export function nextPlace(session: number, newest: number | null, decided: number | null): number {
  const first = (session % SESSION_TURNS) * PLACES_PER_SESSION
  for (let place = first; place < first + PLACES_PER_SESSION; place++) if (place !== newest && place !== decided) return place
  throw new Error('three places, of which two are taken')
}
