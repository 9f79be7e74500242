/** `holdfast peer`: by way of the daemon here, or on the shared place itself where none runs. */
import { resolve } from 'node:path'
import { ClaimWorkers } from '../claim/claim-workers.js'
import { MembersStore, type MembersChange } from '../claim/members-store.js'
import { formatAddress, parseAddress } from '../config/units.js'
import { hostSchema } from '../config/schema.js'
import { EXIT, Failure } from '../core/failure.js'
import { adding, revoking, type MembersEdit } from '../core/members.js'
import { limits } from '../limits.js'
import type { PeerChange, PeerList } from '../ports/control.js'
import type { PeerAddArguments, PeerArguments, PeerRevokeArguments } from './commands/peer.js'
import { controlOf, readerOf } from './status.js'

const CHANGED = `the daemons follow within ${limits.membersPollMs / 1000} s`

export async function add(name: string, address: string, options: PeerAddArguments): Promise<void> {
  refuseName(name)
  const faultDomain = options.faultDomain ?? null, at = parseAddress(address)
  if (at === null) throw new Failure(EXIT.usage, `"${address}" is no address; it must be "host:port" or "[ipv6]:port"`)
  const change = options.store === undefined ? await controlOf(options).addPeer({ name, address, faultDomain })
    : await changeThere(options, name, adding({ name, at, ...(faultDomain === null ? {} : { faultDomain }) }, limits.peersMax + 1))
  report(options, change, change.changed ? `${name} belongs to the cluster (generation ${change.generation}); ${CHANGED}` : `${name} is there already, with this address`)
}

export async function revoke(name: string, options: PeerRevokeArguments): Promise<void> {
  refuseName(name)
  if (options.store !== undefined && !options.force) {
    throw new Failure(EXIT.unsafe, `without a daemon nobody knows what ${name} has a copy of; use one that runs, or say --force (nothing was changed)`)
  }
  const change = options.store === undefined ? await controlOf(options).revokePeer(name, options.force) : await changeThere(options, name, revoking(name))
  for (const what of change.unknown) process.stderr.write(`holdfast: not looked at: ${what}\n`)
  report(options, change, change.changed ? `${name} is revoked (generation ${change.generation}); ${CHANGED}` : `${name} was revoked before`)
}

const known = (options: PeerArguments): Promise<PeerList> => options.store === undefined ? readerOf(options).peers() : listThere(options.store)

export async function show(name: string, options: PeerArguments): Promise<void> {
  refuseName(name)
  const found = await known(options), host = found.hosts.find((each) => each.name === name)
  if (host === undefined) throw new Failure(EXIT.usage, `${name} does not belong to the cluster; there are: ${found.hosts.map((each) => each.name).join(', ') || 'none'}`)
  process.stdout.write(options.json ? `${JSON.stringify(host, null, 2)}\n` : describePeer(host))
  if (found.problem !== null) throw staleList(found.problem)
}

const staleList = (problem: string): Failure => new Failure(EXIT.unreachable, `what is shown is what the daemon knew last: ${problem}`)

/** Ends with a newline. */
function describePeer(host: PeerList['hosts'][number]): string {
  const rows = [
    ['address', host.address], ['state', host.revoked ? 'REVOKED' : host.connected === null ? 'this host, or none was asked' : host.connected ? 'connected' : 'NOT CONNECTED'],
    ['domain', host.faultDomain ?? '-'], ['region', host.incarnation ?? 'not known'], ...(host.onlyConfigured ? [['listed', 'only in the configuration here']] : []),
  ]
  return `host ${host.name}\n${rows.map(([label, text]) => `  ${label!.padEnd(7)}  ${text}\n`).join('')}`
}

export async function list(options: PeerArguments): Promise<void> {
  const found = await known(options)
  process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : describePeers(found))
  if (found.problem !== null) throw staleList(found.problem)
}

function refuseName(name: string): void {
  if (!hostSchema.shape.name.safeParse(name).success) throw new Failure(EXIT.usage, `"${name}" is not a host id: small letters, digits and "-", at most 63`)
}

const report = (options: PeerArguments, change: PeerChange, text: string): void => void process.stdout.write(options.json ? `${JSON.stringify(change)}\n` : `${text}\n`)

/** Ends with a newline. */
export function describePeers({ store, generation, hosts }: PeerList): string {
  const heading = store === null ? 'the peers of the configuration; cluster.store is not set' : `${generation === 0 ? 'no record of members yet' : `generation ${generation} of the members`} in ${store}`
  const width = Math.max(0, ...hosts.map(({ name }) => name.length)), addressWidth = Math.max(0, ...hosts.map(({ address }) => address.length))
  const rows = hosts.map((host) => {
    const state = host.revoked ? 'REVOKED' : host.connected === null ? null : host.connected ? 'connected' : 'NOT CONNECTED'
    const facts = [state, host.faultDomain === null ? null : `fault domain ${host.faultDomain}`, host.incarnation?.slice(0, 8) ?? null, host.onlyConfigured && store !== null ? 'only in the configuration here' : null]
    return `  ${host.name.padEnd(width)}  ${host.address.padEnd(addressWidth)}  ${facts.filter((fact) => fact !== null).join(', ')}`.trimEnd()
  })
  return `${[heading, ...rows].join('\n')}\n`
}

// --- without a daemon ---------------------------------------------------------------------------------------------------------

/** By a worker process as in the daemon: a storage that hangs is an error, and not a command that never ends. */
async function there<T>(place: string, as: string, work: (store: MembersStore) => Promise<T>): Promise<T> {
  const claims = new ClaimWorkers(as, { info: () => undefined, warn: () => undefined })
  try {
    return await work(new MembersStore(claims.members(place)))
  } finally {
    claims.close()
  }
}

async function changeThere({ store, as }: PeerArguments, name: string, edit: MembersEdit): Promise<PeerChange> {
  const { members, changed } = await there<MembersChange>(resolve(store!), as ?? '', (record) => record.change(edit))
  return { name, generation: members?.generation ?? 0, changed, unknown: [] }
}

async function listThere(store: string): Promise<PeerList> {
  const place = resolve(store), members = await there(place, '', (record) => record.read())
  const hosts = (members?.hosts ?? []).map(({ name, at, faultDomain, incarnation, revoked }) => ({
    name, address: formatAddress(at), faultDomain: faultDomain ?? null, incarnation: incarnation ?? null, revoked: revoked === true, onlyConfigured: false, connected: null,
  }))
  return { store: place, generation: members?.generation ?? 0, problem: null, hosts }
}
