/** `holdfast status` and `holdfast volume flush`. */
import { formatBytes } from '../config/units.js'
import { ControlClient } from '../control/client.js'
import type { HostStatus, VolumeStatus } from '../ports/control.js'
import { progressLine } from './progress.js'

export async function status(control: string, json: boolean): Promise<void> {
  const host = await new ControlClient(control).status()
  process.stdout.write(json ? `${JSON.stringify(host, null, 2)}\n` : `${describeHost(host)}\n`)
}

export async function flush(name: string, options: { control: string; json: boolean; progress: boolean }): Promise<void> {
  const show = options.progress ? progressLine(`flushing ${name}`) : () => undefined
  const result = await new ControlClient(options.control).flush(name, show)
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${name} is on its backing up to write ${result.base} (${result.seconds.toFixed(1)} s)\n`)
}

export function describeHost(host: HostStatus): string {
  const used = host.region.sizeBytes - host.region.freeBytes
  const lines = [
    `host ${host.host} (${host.incarnation.slice(0, 8)}), holdfast ${host.version}`,
    `region ${host.region.path}: ${formatBytes(used)} of ${formatBytes(host.region.sizeBytes)} used, ${formatBytes(host.region.appendedBytes)} written since start, device write cache: ${host.region.writeCache}`,
    ...host.peers.map((p) => `peer ${p.host} at ${p.address}: ${p.dialed && p.accepted ? 'connected' : p.dialed || p.accepted ? 'connected one way only' : 'not connected'}`),
  ]
  for (const volume of host.volumes) lines.push('', ...describeVolume(volume))
  if (host.replicas.length > 0) {
    lines.push('', 'copies held for other hosts:')
    for (const r of host.replicas) lines.push(`  volume ${r.volume} epoch ${r.epoch}: ${r.records} records, ${formatBytes(r.bytes)}`)
  }
  return lines.join('\n')
}

function describeVolume(v: VolumeStatus): string[] {
  const c = v.counters
  const policy = v.policy.reason === null ? v.policy.effective : `${v.policy.effective} (asked for: ${v.policy.requested}; ${v.policy.reason})`
  const lines = [
    `volume ${v.name}: ${v.phase}${v.reason === null ? '' : `, ${v.reason}`}`,
    `  policy     ${policy}`,
    `  owner      ${v.owner ?? 'nobody yet'}, epoch ${v.epoch}, set {${v.set.join(', ')}}${v.quarantine ? ', in quarantine' : ''}`,
    `  dirty      ${formatBytes(v.dirtyBytes)}; acknowledged up to ${v.acked}, on the backing up to ${v.base}`,
    `  backing    ${v.backing} (${formatBytes(v.capacityBytes)})${v.guardedAs === null ? ', unguarded' : ''}`,
    `  guest      ${v.frontEnds} connected on ${v.socket}; ${c.guestReads} reads, ${c.guestWrites} writes, ${c.guestFlushes} flushes, ${c.guestErrors} errors`,
    `  bytes      guest wrote ${formatBytes(c.guestWriteBytes)}, region got ${formatBytes(c.recordBytes)}, backing got ${formatBytes(c.backingWriteBytes)}`,
  ]
  if (v.inherited.length > 0) lines.push(`  inherited  ${v.inherited.map((l) => `epoch ${l.epoch} (${l.kept} records) from ${l.holders.join(' or ')}`).join('; ')}`)
  if (c.remoteReads > 0) lines.push(`  remote     ${c.remoteReads} reads (${Object.entries(c.remoteReadsByHost).map(([h, n]) => `${n} from ${h}`).join(', ')}), ${formatBytes(c.remoteReadBytes)}`)
  return lines
}
