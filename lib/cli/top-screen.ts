/** The screen of `holdfast top`: one line for the host, one for each volume, then what is not as it was asked for. */
import { bytes, count, percent, time } from '../live/show.js'
import { key, type HostRates, type VolumeRates } from '../live/rates.js'
import type { HostMeasures, LatencyOp, LatencySource } from '../ports/measures.js'

interface Column {
  readonly title: string
  readonly text: (volume: VolumeRates) => string
  /** In a narrow window the columns with the highest number go first. */
  readonly rank: number
}

const latency = (source: LatencySource, op: LatencyOp) => ({ latencies }: VolumeRates): string => {
  const { p50 = null, p99 = null } = latencies[key(source, op)] ?? {}
  return p50 === null && p99 === null ? '-' : `${time(p50)}/${time(p99)}`
}

const COLUMNS: readonly Column[] = [
  { title: 'VOLUME', text: ({ status }) => status.name, rank: 0 },
  { title: 'STATE', text: ({ status }) => status.phase === 'failed' ? 'FAILED' : status.phase, rank: 1 },
  { title: 'READ/s', text: ({ perSecond }) => count(perSecond.read), rank: 2 },
  { title: 'WRITE/s', text: ({ perSecond }) => count(perSecond.write), rank: 2 },
  { title: 'FLUSH/s', text: ({ perSecond }) => count(perSecond.flush), rank: 8 },
  { title: 'READ B/s', text: ({ bytesPerSecond }) => bytes(bytesPerSecond.read), rank: 9 },
  { title: 'WRITE B/s', text: ({ bytesPerSecond }) => bytes(bytesPerSecond.write), rank: 9 },
  { title: 'GUEST READ', text: latency('guest', 'read'), rank: 5 },
  { title: 'GUEST WRITE', text: latency('guest', 'write'), rank: 3 },
  { title: 'GUEST FLUSH', text: latency('guest', 'flush'), rank: 7 },
  { title: 'BACKING READ', text: latency('backing', 'read'), rank: 10 },
  { title: 'BACKING WRITE', text: latency('backing', 'write'), rank: 6 },
  { title: 'HIT', text: ({ hitRate }) => percent(hitRate), rank: 4 },
  { title: 'DIRTY', text: ({ status }) => bytes(status.dirtyBytes), rank: 1 },
  { title: 'DRAIN', text: ({ status: { outlook, dirtyBytes } }) => dirtyBytes === 0 || outlook.drainedInMs === null ? '-' : time(outlook.drainedInMs / 1000), rank: 6 },
  { title: 'LAG', text: ({ measures, lagMs }) => measures.lags.length === 0 ? '-' : time(lagMs / 1000), rank: 7 },
  { title: 'WAITING', text: ({ measures }) => measures.inFlight === 0 ? '-' : `${measures.inFlight}, ${time(measures.oldestMs / 1000)}`, rank: 8 },
]

/** Ends with a newline. `width`: Infinity where lines are not cut. */
export function topScreen(measures: HostMeasures, rates: HostRates, width: number): string {
  const { status } = measures
  const lines = [hostLine(measures, rates), '', ...table(rates.volumes, width)]
  for (const { status: v } of rates.volumes) {
    if (v.phase === 'serving' && v.policy.reason !== null) lines.push(`! ${v.name}: ${v.policy.effective} instead of ${v.policy.requested}: ${v.policy.reason}`)
    else if (v.phase !== 'serving' && v.reason !== null) lines.push(`! ${v.name}: ${v.phase}, ${v.reason}`)
  }
  for (const { name, reason } of status.waiting) lines.push(`! ${name}: waits for its storage: ${reason}`)
  for (const { host, dialed, accepted } of status.peers) if (!dialed || !accepted) lines.push(`! peer ${host} is not connected`)
  return `${lines.map((line) => line.length > width ? `${line.slice(0, width - 1)}…` : line).join('\n')}\n`
}

function hostLine({ status: { host, region, peers }, process }: HostMeasures, rates: HostRates): string {
  const used = region.sizeBytes - region.freeBytes, connected = peers.filter(({ dialed, accepted }) => dialed && accepted).length
  return [
    host, `region ${bytes(used)} of ${bytes(region.sizeBytes)} (${percent(used / region.sizeBytes)})`, `cpu ${percent(rates.cpu)}`, `memory ${bytes(process.residentBytes)}`,
    `loop p99 ${time(process.loopDelayMs.p99 / 1000)}`, ...(peers.length === 0 ? [] : [`peers ${connected} of ${peers.length}`]),
  ].join('   ')
}

function table(volumes: readonly VolumeRates[], width: number): string[] {
  if (volumes.length === 0) return ['no volumes on this host']
  let columns = [...COLUMNS], lines = drawn(columns, volumes)
  while (columns.length > 1 && lines[0]!.length > width) {
    const last = columns.reduce((worst, column) => column.rank >= worst.rank ? column : worst)
    columns = columns.filter((column) => column !== last)
    lines = drawn(columns, volumes)
  }
  return lines
}

function drawn(columns: readonly Column[], volumes: readonly VolumeRates[]): string[] {
  const rows = [columns.map(({ title }) => title), ...volumes.map((volume) => columns.map(({ text }) => text(volume)))]
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  // Words to the left, figures to the right.
  return rows.map((row) => row.map((cell, i) => i < 2 && columns[i]!.rank < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join('  '))
}
