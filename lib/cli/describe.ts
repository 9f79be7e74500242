/** The screen of `holdfast status`: what an operator looks for first comes first, one fact a line. */
import { formatBytes } from '../config/units.js'
import type { HostStatus, ScrubSummary, VolumeCounters, VolumeStatus } from '../ports/control.js'

type Row = readonly [label: string, text: string]

/** Ends with a newline. */
export function describeHost(host: HostStatus): string {
  const { region } = host
  const used = region.sizeBytes - region.freeBytes
  const blocks = [
    block(`host ${host.host} (${host.incarnation.slice(0, 8)})${host.faultDomain === null ? '' : ` in ${host.faultDomain}`}, holdfast ${host.version}`, [
      ['region', `${formatBytes(used)} of ${formatBytes(region.sizeBytes)} used (${percent(used, region.sizeBytes)}), ` +
        `${formatBytes(region.appendedBytes)} written since start, ${region.path}, device cache: ${region.writeCache}`],
      ...(host.scrub === null ? [] : [['scrubbed', scrubbed(host.scrub)] as const]),
      ...(host.maintenance ? [['MAINTENANCE', 'this host is to hold no copies; "holdfast host ok-to-stop", then "maintenance off"'] as const] : []),
      ...members(host.members),
      ...host.peers.map((peer): Row => [`peer ${peer.host}`, `${connection(peer)}, ${peer.address}${peer.faultDomain === null ? '' : `, in ${peer.faultDomain}`}`]),
    ]),
    ...host.volumes.map((volume) => describeVolume(volume, host)),
  ]
  blocks.push(...host.waiting.map(({ name, socket, reason }) => block(`volume ${name}: WAITS FOR ITS STORAGE, ${reason}`, [['socket', `${socket}, once it is there`]])))
  if (host.volumes.length + host.waiting.length === 0) blocks.push('no volumes on this host')
  if (host.replicas.length > 0) {
    blocks.push(block('copies held for other hosts', host.replicas.map((r): Row =>
      [r.volume.slice(0, 8), `epoch ${r.epoch}: ${counted(r.records, 'record')}, ${formatBytes(r.bytes)}`])))
  }
  return `${blocks.join('\n\n')}\n`
}

export const describeVolume = (volume: VolumeStatus, host: HostStatus): string => block(title(volume), volumeRows(volume, domainsOf(host)))

/** A line for each volume, its columns in line. Ends with a newline. */
export function describeVolumes({ volumes, waiting }: HostStatus): string {
  if (volumes.length + waiting.length === 0) return 'no volumes on this host\n'
  const rows = [
    ['NAME', 'PHASE', 'OWNER', 'POLICY', 'DIRTY', 'GUEST', 'SOCKET'],
    ...volumes.map((v) => [
      v.name, v.phase === 'failed' ? 'FAILED' : v.phase, v.owner ?? '-', v.phase === 'serving' ? `${v.policy.effective}${v.policy.reason === null ? '' : ' (!)'}` : `(${v.policy.requested})`,
      formatBytes(v.dirtyBytes), v.frontEnds === 0 ? '-' : 'connected', v.socket,
    ]),
    ...waiting.map(({ name, socket }) => [name, 'WAITS FOR ITS STORAGE', '-', '-', '-', '-', socket]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => `${row.map((text, column) => text.padEnd(widths[column]!)).join('  ').trimEnd()}\n`).join('')
}

/** Labels are padded to the longest of the block, so that the eye finds the column. */
function block(heading: string, rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([label]) => label.length))
  return [heading, ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`)].join('\n')
}

function scrubbed({ endedAt, records, bytes, damaged, incomplete }: ScrubSummary): string {
  const bad = damaged.reduce((sum, { damage }) => sum + damage.length, 0), hosts = [...new Set(damaged.map(({ host }) => host))].join(' ')
  return `${endedAt.slice(0, 16).replace('T', ' ')} UTC, ${counted(records, 'record')}, ${formatBytes(bytes)}: ` +
    `${bad === 0 ? 'no damage' : `DAMAGE in ${counted(bad, 'record')} on ${hosts}, see "holdfast scrub"`}` +
    `${incomplete === 0 ? '' : `; ${counted(incomplete, 'log')} could not be looked at`}`
}

function members(known: HostStatus['members']): Row[] {
  if (known === null) return []
  return [
    ...(known.selfRevoked ? [['REVOKED', 'no other host talks to this one any more; "holdfast peer add" on another host takes it back'] as const] : []),
    ['members', `${known.generation === 0 ? 'no record yet' : `generation ${known.generation}`}, ${known.store}${known.problem === null ? '' : `; NOT FOLLOWED: ${known.problem}`}`],
  ]
}

const percent = (part: number, whole: number): string => (whole === 0 ? '-' : `${Math.round((part / whole) * 100)}%`)
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`

function connection(peer: HostStatus['peers'][number]): string {
  if (peer.dialed && peer.accepted) return peer.maintenance ? 'connected, in maintenance' : 'connected'
  if (peer.dialed) return 'connected one way only: it does not reach this host'
  return peer.accepted ? 'connected one way only: this host does not reach it' : 'NOT CONNECTED'
}

const title = (v: VolumeStatus): string => `volume ${v.name}: ${v.phase === 'failed' ? 'FAILED' : v.phase}${v.reason === null ? '' : `, ${v.reason}`}`

/** In words, behind the name of a host. */
type DomainOf = (host: string) => string
const domainsOf = ({ host: self, faultDomain, peers }: HostStatus): DomainOf => {
  const known = new Map([[self, faultDomain], ...peers.map((peer) => [peer.host, peer.faultDomain] as const)])
  return (host) => known.get(host) == null ? host : `${host} (${known.get(host)!})`
}

function volumeRows(v: VolumeStatus, placed: DomainOf): Row[] {
  const { policy } = v
  const serving = v.phase === 'serving'
  const rows: Row[] = [
    ['policy', !serving ? `${policy.requested}, once this host serves it` : policy.reason === null ? policy.effective
      : `${policy.effective} instead of ${policy.requested}: ${policy.reason}`],
    ...(v.fewerCopiesForMs === null ? [] : [['FEWER COPIES', `will do for ${approximately(Math.max(0, v.fewerCopiesForMs))} more, as an operator chose; "holdfast host copies policy" ends it`] satisfies Row]),
    ['owner', v.owner === null ? 'not known to this host' : `${v.owner}, epoch ${v.epoch}, on ${v.set.map(placed).join(' ')}${v.quarantine ? ', in quarantine' : ''}`],
    ...(v.crowding === null ? [] : [['TOO NEAR', v.crowding] satisfies Row]),
    ...v.inherited.map((log): Row => ['inherited', `epoch ${log.epoch}: ${counted(log.kept, 'record')} on ${log.holders.join(' ')}`]),
    ['backing', `${v.guardedAs ?? v.backing}, ${formatBytes(v.capacityBytes)}${serving && v.guardedAs === null ? ', UNGUARDED' : ''}`],
    ...(v.backingChanged === null ? [] : [['CHANGED', `${v.backingChanged}; while nobody served it, and with nothing dirty`] satisfies Row]),
    ['guest', `${v.frontEnds === 0 ? 'not connected' : 'connected'} on ${v.socket}`],
  ]
  if (serving || v.dirtyBytes > 0) {
    const { outlook } = v
    const age = outlook.dirtyAgeMs < 1000 ? '' : `, up to ${Math.round(outlook.dirtyAgeMs / 1000)} s old`
    const drained = outlook.drainedInMs === null || v.dirtyBytes === 0 ? '' : `, ${approximately(outlook.drainedInMs)} to destage`
    const at = rows.findIndex(([label]) => label === 'owner') + 1
    rows.splice(at, 0, ['dirty', `${formatBytes(v.dirtyBytes)}${age}${drained}; acknowledged up to ${v.acked}, on the backing up to ${v.base}, by ${v.order}`])
    if (v.cache !== null && (v.cache.cleanBytes > 0 || !v.cache.populating)) {
      rows.splice(at + 1, 0, ['clean', `${formatBytes(v.cache.cleanBytes)} kept for reads${v.cache.populating ? '' : ', filling is paused'}`])
    }
    if (outlook.frozenAt !== null) rows.splice(at + 1, 0, ['frozen', frozen(outlook)])
  }
  return [...rows, ...traffic(v.counters)]
}

function frozen({ frozenAt, frozenForMs, freezeBroken, fullInMs }: VolumeStatus['outlook']): string {
  if (freezeBroken !== null) return `BROKEN: ${freezeBroken}`
  return `at write ${frozenAt}, for ${approximately(frozenForMs!)} more${fullInMs === null ? '' : `; the region is full in ${approximately(fullInMs)}`}`
}

const approximately = (ms: number): string => ms < 120_000 ? `about ${Math.ceil(ms / 1000)} s` : `about ${Math.round(ms / 60_000)} min`

/** Since the daemon started; nothing for a volume that has not served yet. */
function traffic(c: VolumeCounters): Row[] {
  const rows: Row[] = []
  if (c.guestReads + c.guestWrites + c.guestFlushes > 0) {
    rows.push(
      ['requests', `${counted(c.guestReads, 'read')}, ${counted(c.guestWrites, 'write')}, ${c.guestFlushes === 1 ? '1 flush' : `${c.guestFlushes} flushes`}`],
      ['written', `guest ${formatBytes(c.guestWriteBytes)}, region ${formatBytes(c.recordBytes)}, backing ${formatBytes(c.backingWriteBytes)}`],
      ['read', `guest ${formatBytes(c.guestReadBytes)}: region ${formatBytes(c.regionReadBytes)} (${formatBytes(c.cleanReadBytes)} clean), backing ${formatBytes(c.backingReadBytes)}, ` +
        `peers ${formatBytes(c.remoteReadBytes)}${byHost(c.remoteReadsByHost)}`],
    )
  }
  if (c.rottenBlocks > 0) rows.push(['ROT', `${counted(c.rottenBlocks, 'block')} of the region ${c.rottenBlocks === 1 ? 'was' : 'were'} not what was written there`])
  if (c.guestErrors + c.backingErrors > 0) rows.push(['ERRORS', `${c.guestErrors} shown to the guest, ${c.backingErrors} from the backing`])
  return rows
}

function byHost(reads: Readonly<Record<string, number>>): string {
  const hosts = Object.entries(reads)
  return hosts.length === 0 ? '' : ` (${hosts.map(([host, n]) => `${counted(n, 'read')} from ${host}`).join(', ')})`
}
