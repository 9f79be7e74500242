/**
 * Who belongs to the cluster: one small shared record that is changed only by compare-and-swap on its generation, as a claim is on
 * its epoch. It decides who is dialed and let in, and nothing about a volume: that is for the volume's claim.
 */
import { EXIT, Failure } from './failure.js'

export interface HostAddress { readonly address: string; readonly port: number }

export interface ListedHost {
  readonly name: string
  /** Where the others dial it. */
  readonly at: HostAddress
  readonly faultDomain?: string
  /** Of its region, as it said itself when it was last started. */
  readonly incarnation?: string
  /** It has no business here any more. Its entry stays: what is not listed could be let in by an old configuration. */
  readonly revoked?: true
}

export interface Members {
  readonly format: 1
  /** Raised by one at every change. */
  readonly generation: number
  readonly hosts: readonly ListedHost[]
  /** Random: two changes are never the same text. 32 hexadecimal digits. */
  readonly nonce: string
}

/** The hosts as they are to be; null: they are so already. Called anew when another change came first. */
export type MembersEdit = (hosts: readonly ListedHost[]) => readonly ListedHost[] | null

const sameAddress = (a: HostAddress, b: HostAddress): boolean => a.address === b.address && a.port === b.port

/** Also for one that was revoked, or has moved. `most`: hosts that can be connected with each other. */
export const adding = (host: Pick<ListedHost, 'name' | 'at' | 'faultDomain'>, most: number): MembersEdit => (hosts) => {
  const before = hosts.find(({ name }) => name === host.name)
  const taken = hosts.find(({ name, at, revoked }) => name !== host.name && revoked !== true && sameAddress(at, host.at))
  if (taken !== undefined) throw new Failure(EXIT.usage, `${host.name} cannot have the address of ${taken.name}; give it its own (nothing was changed)`)
  const faultDomain = host.faultDomain ?? before?.faultDomain
  if (before !== undefined && before.revoked !== true && sameAddress(before.at, host.at) && before.faultDomain === faultDomain) return null
  const others = hosts.filter(({ name }) => name !== host.name)
  if (others.filter(({ revoked }) => revoked !== true).length >= most) throw new Failure(EXIT.usage, `there are ${most} hosts already, and no more can be in one cluster; revoke one first (nothing was changed)`)
  const { name, at } = host
  const entry: ListedHost = { name, at, ...(faultDomain === undefined ? {} : { faultDomain }), ...(before?.incarnation === undefined ? {} : { incarnation: before.incarnation }) }
  return before === undefined ? [...hosts, entry] : hosts.map((each) => (each.name === name ? entry : each))
}

/** For hosts that only a configuration names so far; what the record says of a host stays. */
export const addingMissing = (bootstrap: readonly ListedHost[]): MembersEdit => (hosts) => {
  const missing = bootstrap.filter(({ name, at }) => !hosts.some((host) => host.name === name || (host.revoked !== true && sameAddress(host.at, at))))
  return missing.length === 0 ? null : [...hosts, ...missing]
}

export const revoking = (name: string): MembersEdit => (hosts) => {
  const host = hosts.find((each) => each.name === name)
  if (host === undefined) throw new Failure(EXIT.usage, `there is no host ${name} in the record; there are: ${hosts.map((each) => each.name).join(', ') || 'none'} (nothing was changed)`)
  return host.revoked === true ? null : hosts.map((each) => (each === host ? { ...host, revoked: true as const } : each))
}

/** A host says it of itself. One that is not listed, or revoked, says nothing. */
export const incarnated = (name: string, incarnation: string): MembersEdit => (hosts) =>
  hosts.some((host) => host.name === name && host.revoked !== true && host.incarnation !== incarnation)
    ? hosts.map((host) => (host.name === name ? { ...host, incarnation } : host)) : null

/** One edit after the other, as one change. */
export const both = (first: MembersEdit, second: MembersEdit): MembersEdit => (hosts) => {
  const after = first(hosts)
  return second(after ?? hosts) ?? after
}

export interface Following {
  /** Everybody else who belongs here. */
  readonly peers: readonly ListedHost[]
  readonly revoked: readonly string[]
  /** This host itself is revoked: nobody is its peer. */
  readonly selfRevoked: boolean
  /** No connection with them is allowed: the revoked ones; of a host that is revoked itself, all the others. */
  readonly cutOff: readonly string[]
}

/** The record wins where both name a host; what only the configuration names is for a start without a record. */
export function follow(self: string, bootstrap: readonly ListedHost[], members: Members | null): Following {
  const listed = members?.hosts ?? [], revoked = listed.filter((host) => host.revoked === true).map(({ name }) => name)
  if (revoked.includes(self)) {
    return { peers: [], revoked: revoked.filter((name) => name !== self), selfRevoked: true, cutOff: [...new Set([...listed, ...bootstrap].map(({ name }) => name))].filter((name) => name !== self) }
  }
  const known = bootstrap.map((peer) => listed.find(({ name }) => name === peer.name) ?? peer)
  const more = listed.filter(({ name }) => name !== self && !bootstrap.some((peer) => peer.name === name))
  return { peers: [...known, ...more].filter((host) => host.revoked !== true), revoked, selfRevoked: false, cutOff: revoked }
}
