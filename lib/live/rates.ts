/**
 * What happened between two looks at a host: rates, latencies, where reads came from. For `holdfast top` and for the dashboard,
 * whose page runs this very code; nothing of Node's is used here.
 */
import { between, countOf, quantileOf, type HistogramCounts } from '../core/log-histogram.js'
import type { VolumeStatus } from '../ports/control.js'
import type { HostMeasures, LatencyOp, LatencySource, ReadBytes, VolumeMeasures } from '../ports/measures.js'

export interface Latency {
  readonly perSecond: number
  /** Seconds; null: there was none. */
  readonly p50: number | null
  readonly p99: number | null
}

export interface Saved {
  /** Share of the guest's requests that the backing saw nothing of; null without any. */
  readonly requests: number | null
  /** Less than nothing while what was written before is destaged. The journal counts as the backing: it is on the same storage. */
  readonly bytesPerSecond: number
}

export interface VolumeRates {
  readonly status: VolumeStatus
  readonly measures: VolumeMeasures
  readonly perSecond: { readonly read: number; readonly write: number; readonly flush: number }
  readonly bytesPerSecond: { readonly read: number; readonly write: number }
  /** By "source op", like "guest write". */
  readonly latencies: Readonly<Record<string, Latency>>
  readonly readBytesPerSecond: ReadBytes
  /** Share of what was read that came neither from the backing nor from a peer; null: nothing was read. */
  readonly hitRate: number | null
  readonly sizes: { readonly read: HistogramCounts; readonly write: HistogramCounts }
  /** What the backing was spared. */
  readonly saved: Saved
  readonly destagedPerSecond: number
  /** Of the member that is furthest behind. */
  readonly lagMs: number
}

export interface HostRates {
  readonly seconds: number
  /** Share of one CPU. */
  readonly cpu: number
  readonly volumes: readonly VolumeRates[]
}

export const key = (source: LatencySource, op: LatencyOp): string => `${source} ${op}`

/** Volumes that were not there at the first look are counted from the next one on. */
export function ratesBetween(before: HostMeasures, after: HostMeasures): HostRates {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000)
  const volumes = after.volumes.flatMap((measures): VolumeRates[] => {
    const { name } = measures, was = before.volumes.find((v) => v.name === name)
    const status = after.status.volumes.find((v) => v.name === name), statusBefore = before.status.volumes.find((v) => v.name === name)
    return was === undefined || status === undefined || statusBefore === undefined ? [] : [volumeRates({ status: statusBefore, measures: was }, { status, measures }, seconds)]
  })
  return { seconds, cpu: Math.max(0, after.process.cpuMs - before.process.cpuMs) / 1000 / seconds, volumes }
}

interface Look { readonly status: VolumeStatus; readonly measures: VolumeMeasures }

function volumeRates(before: Look, after: Look, seconds: number): VolumeRates {
  const { status, measures } = after, was = before.status.counters, now = status.counters
  const rate = (from: number, to: number): number => Math.max(0, to - from) / seconds
  const latencies: Record<string, Latency> = {}
  for (const { source, op, us } of measures.latencies) {
    const earlier = before.measures.latencies.find((m) => m.source === source && m.op === op)
    if (earlier !== undefined) latencies[key(source, op)] = latencyOf(between(earlier.us, us), seconds)
  }
  const from = before.measures.readBytes, to = measures.readBytes
  const readBytesPerSecond = {
    log: rate(from.log, to.log), cache: rate(from.cache, to.cache), peer: rate(from.peer, to.peer), backing: rate(from.backing, to.backing), zero: rate(from.zero, to.zero),
  }
  const total = Object.values(readBytesPerSecond).reduce((sum, n) => sum + n, 0)
  const bytesPerSecond = { read: rate(was.guestReadBytes, now.guestReadBytes), write: rate(was.guestWriteBytes, now.guestWriteBytes) }
  const destagedPerSecond = rate(was.backingWriteBytes, now.backingWriteBytes)
  return {
    status, measures, perSecond: { read: rate(was.guestReads, now.guestReads), write: rate(was.guestWrites, now.guestWrites), flush: rate(was.guestFlushes, now.guestFlushes) },
    bytesPerSecond, latencies, readBytesPerSecond, destagedPerSecond,
    hitRate: total === 0 ? null : 1 - (readBytesPerSecond.backing + readBytesPerSecond.peer) / total,
    sizes: { read: between(before.measures.sizes.read, measures.sizes.read), write: between(before.measures.sizes.write, measures.sizes.write) },
    saved: savedOf(before, after, bytesPerSecond.read + bytesPerSecond.write - readBytesPerSecond.backing - destagedPerSecond - rate(was.journalBytes, now.journalBytes)),
    lagMs: measures.lags.reduce((most, { owesMs }) => Math.max(most, owesMs), 0),
  }
}

function latencyOf(histogram: HistogramCounts, seconds: number): Latency {
  const at = (fraction: number): number | null => {
    const us = quantileOf(histogram, fraction)
    return us === null ? null : us / 1_000_000
  }
  return { perSecond: countOf(histogram) / seconds, p50: at(0.5), p99: at(0.99) }
}

const requestsOf = ({ status: { counters } }: Look): number => counters.guestReads + counters.guestWrites + counters.guestFlushes

function backingRequestsOf({ measures }: Look): number {
  return measures.latencies.reduce((sum, { source, us }) => source === 'backing' ? sum + countOf(us) : sum, 0)
}

function savedOf(before: Look, after: Look, bytesPerSecond: number): Saved {
  const asked = requestsOf(after) - requestsOf(before), done = backingRequestsOf(after) - backingRequestsOf(before)
  return { requests: asked <= 0 ? null : 1 - done / asked, bytesPerSecond }
}

/** Since the daemon started. */
export function savedSoFar(status: VolumeStatus, measures: VolumeMeasures): { readonly requests: number; readonly bytes: number } {
  const look = { status, measures }, { guestReadBytes, guestWriteBytes, backingWriteBytes, journalBytes } = status.counters
  return { requests: requestsOf(look) - backingRequestsOf(look), bytes: guestReadBytes + guestWriteBytes - measures.readBytes.backing - backingWriteBytes - journalBytes }
}
