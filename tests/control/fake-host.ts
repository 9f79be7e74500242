/** A host as the control API sees it, with what a test wants it to say. */
import { Failure } from '../../lib/core/failure.js'
import type { HistogramCounts } from '../../lib/core/log-histogram.js'
import { exposition } from '../../lib/metrics/exposition.js'
import { Figures } from '../../lib/metrics/figures.js'
import type {
  CacheAction, CacheResult, CopiesResult, DiscardResult, FlushResult, FreezeResult, GuestEndedResult, HostControl, HostStatus, MaintenanceResult, PeerAddition, PeerChange, PeerList, PolicyResult, Progress, ResizeResult, ScrubResult, StopAnswer, TakeoverRequest, TakeoverResult, ThawResult, VerifyResult, VolumeAdded, VolumeChoice, VolumeRemoved, VolumeStatus,
} from '../../lib/ports/control.js'
import type { HostMeasures, VolumeMeasures } from '../../lib/ports/measures.js'

export const volumeStatus = (over: Partial<VolumeStatus> = {}): VolumeStatus => ({
  name: 'db01', id: 'f2f62f22-1111-4222-8333-123456789abc', socket: '/run/db01.sock', backing: '/san/db01.raw', phase: 'serving', reason: null,
  owner: 'hv07', epoch: 41, set: ['hv07', 'hv09'], policy: { requested: 'write-back, 1 copy', effective: 'write-back, 1 copy', reason: null },
  crowding: null, fewerCopiesForMs: null, quarantine: false, capacityBytes: 2 ** 34, acked: 1200, base: 1100, dirtyBytes: 3 * 2 ** 20, inherited: [], cache: { cleanBytes: 2 ** 21, populating: true }, frontEnds: 1,
  guardedAs: '/san/db01.raw.holdfast', backingChanged: null, order: 'journal',
  outlook: { dirtyAgeMs: 0, drainedInMs: 1500, fullInMs: 60_000, frozenAt: null, frozenForMs: null, freezeBroken: null },
  counters: {
    guestReads: 10, guestWrites: 20, guestFlushes: 5, guestReadBytes: 40960, guestWriteBytes: 81920, guestErrors: 0, records: 20, recordBytes: 163840,
    backingReadBytes: 4096, backingWriteBytes: 40960, journalBytes: 0, backingErrors: 0, rottenBlocks: 0, cleanReadBytes: 0, filledBytes: 0, regionReadBytes: 36864, remoteReads: 0, remoteReadBytes: 0, remoteReadsByHost: {},
    cuts: 2, pacedMs: 0, claimChanges: 1,
  },
  ...over,
})

export const hostStatus = (over: Partial<HostStatus> = {}): HostStatus => ({
  host: 'hv07', faultDomain: null, incarnation: 'aad9815c96dcc7c8dc2b99bd2bcc1aaf', version: '0.1.0',
  region: { path: '/nvme/region', sizeBytes: 2 ** 36, freeBytes: 2 ** 35, appendedBytes: 2 ** 30, writeCache: 'write through' },
  peers: [{ host: 'hv09', address: '10.0.0.9:7400', dialed: true, accepted: true, incarnation: 'b'.repeat(32), maintenance: false, faultDomain: null }],
  members: null, volumes: [volumeStatus()], waiting: [], scrub: null, maintenance: false, replicas: [], ...over,
})

export class FakeHost implements HostControl {
  /** What flush does, by volume. */
  readonly flushes = new Map<string, (progress: (done: number, total: number) => void) => Promise<FlushResult>>()
  answer: () => HostStatus = () => hostStatus()

  status(): HostStatus { return this.answer() }

  resize(volume: string): Promise<ResizeResult> {
    return volume === 'db01' ? Promise.resolve({ volume, beforeBytes: 2 ** 30, afterBytes: 2 ** 31 }) : Promise.reject(new Failure(64, `no volume ${volume} on this host`))
  }

  guestEnded(volume: string): Promise<GuestEndedResult> {
    this.asked.push(['guestEnded', volume])
    return Promise.resolve({ volume, draining: true, dirtyBytes: 4096 })
  }

  discardDirty(volume: string): Promise<DiscardResult> {
    this.asked.push(['discardDirty', volume])
    return Promise.resolve({ volume, epoch: 4, lostBytes: 2 ** 20 })
  }

  addVolume(section: Readonly<Record<string, unknown>>): Promise<VolumeAdded> {
    this.asked.push(['addVolume', section])
    return Promise.resolve({ volume: String(section['name']), socket: '/run/new.sock' })
  }

  removeVolume(volume: string, progress: Progress): Promise<VolumeRemoved> {
    this.asked.push(['removeVolume', volume])
    progress(1, 2)
    return Promise.resolve({ volume, seconds: 1 })
  }

  takeover(volume: string, request: TakeoverRequest): Promise<TakeoverResult> {
    this.asked.push(['takeover', volume, request])
    return Promise.resolve({ volume, epoch: 5, from: 'hv09', quarantine: true, lost: null, seconds: 1 })
  }

  okToStop(): Promise<StopAnswer> { return Promise.resolve({ host: 'hv07', ok: true, reasons: [] }) }
  maintenanceOn(timeoutMs: number, progress: Progress): Promise<MaintenanceResult> {
    this.asked.push(['maintenance', timeoutMs])
    progress(1, 2)
    return Promise.resolve({ host: 'hv07', ok: true, reasons: [], on: true, seconds: 1 })
  }

  maintenanceOff(): Promise<MaintenanceResult> {
    this.asked.push(['maintenance off'])
    return Promise.resolve({ host: 'hv07', ok: true, reasons: [], on: false, seconds: 0 })
  }

  fewerCopies(least: number, forMs: number): Promise<CopiesResult> {
    this.asked.push(['copies', least, forMs])
    return Promise.resolve({ host: 'hv07', volumes: ['db01'], forMs })
  }

  policyCopies(): Promise<CopiesResult> {
    this.asked.push(['copies', 'policy'])
    return Promise.resolve({ host: 'hv07', volumes: ['db01'], forMs: 0 })
  }

  peers(): PeerList { return { store: '/san/holdfast', generation: 3, problem: null, hosts: [] } }

  addPeer(addition: PeerAddition): Promise<PeerChange> {
    this.asked.push(['addPeer', addition])
    return Promise.resolve({ name: addition.name, generation: 4, changed: true, unknown: [] })
  }

  revokePeer(name: string, force: boolean): Promise<PeerChange> {
    this.asked.push(['revokePeer', name, force])
    return Promise.resolve({ name, generation: 5, changed: true, unknown: ['volumes elsewhere'] })
  }

  /** What was asked, as the host understood it. */
  readonly asked: unknown[] = []

  freeze(choice: VolumeChoice, leaseMs: number, progress: Progress): Promise<FreezeResult> {
    this.asked.push(['freeze', choice, leaseMs])
    progress(1, 2)
    return Promise.resolve({ volumes: [{ volume: 'db01', cut: 7, fullInMs: null }] })
  }

  thaw(choice: VolumeChoice): Promise<ThawResult> {
    this.asked.push(['thaw', choice])
    return Promise.resolve({ volumes: [{ volume: 'db01', cut: 7, heldMs: 3 }] })
  }

  cache(volume: string, action: CacheAction): Promise<CacheResult> {
    this.asked.push(['cache', volume, action])
    return Promise.resolve({ volume, cleanBytes: 8192, populating: action === 'fill' })
  }

  policy(volume: string, mode: 'write-back' | 'write-through'): Promise<PolicyResult> {
    this.asked.push(['policy', volume, mode])
    return Promise.resolve({ volume, effective: mode, seconds: 0 })
  }

  /** Runs until it is called off, where there is no result for it. */
  scrubbed: ScrubResult | null = { logs: [], seconds: 1 }

  async scrub(volume: string | null, bytesPerSecond: number, progress: Progress, signal: AbortSignal): Promise<ScrubResult> {
    this.asked.push(['scrub', volume, bytesPerSecond])
    progress(1, 2)
    if (this.scrubbed !== null) return this.scrubbed
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    this.asked.push(['scrub called off'])
    return { logs: [], seconds: 1 }
  }

  verify(volume: string): Promise<VerifyResult> {
    this.asked.push(['verify', volume])
    return Promise.resolve({ volume, records: 0, bytes: 0, same: [], differences: [], problems: [], seconds: 0 })
  }

  flush(volume: string, upTo: number | null, progress: Progress): Promise<FlushResult> {
    this.asked.push(['flush', volume, upTo])
    const flush = this.flushes.get(volume)
    return flush === undefined ? Promise.reject(new Failure(64, `no volume ${volume} on this host`)) : flush(progress)
  }
}

const histogram = (...counts: number[]): HistogramCounts => ({ first: 4, counts: [...counts, ...Array.from({ length: 23 - counts.length }, () => 0)], sum: counts.reduce((sum, n, i) => sum + n * 2 ** (i + 4), 0) })

export const volumeMeasures = (over: Partial<VolumeMeasures> = {}): VolumeMeasures => ({
  name: 'db01', domain: 'vm17', copiesRequested: 1, logBytes: 2 ** 24, maxDirtyAgeMs: null,
  latencies: [
    { source: 'guest', op: 'read', us: histogram(0, 10) }, { source: 'guest', op: 'write', us: histogram(0, 0, 20) }, { source: 'guest', op: 'flush', us: histogram(0, 0, 0, 5) },
    { source: 'cache', op: 'read', us: histogram(9) }, { source: 'backing', op: 'read', us: histogram(0, 0, 0, 0, 0, 1) }, { source: 'backing', op: 'write', us: histogram(0, 0, 0, 0, 0, 0, 7) },
    { source: 'region', op: 'write', us: histogram(0, 20) }, { source: 'peer', op: 'write', us: histogram(0, 0, 20) },
  ],
  sizes: { read: { first: 9, counts: [0, 0, 0, 10, 0], sum: 40960 }, write: { first: 9, counts: [0, 0, 0, 20, 0], sum: 81920 } },
  readBytes: { log: 20480, cache: 16384, peer: 0, backing: 4096, zero: 0 }, lags: [{ host: 'hv09', records: 2, owesMs: 3 }], inFlight: 4, oldestMs: 12, renewAgeMs: 500, ...over,
})

export const hostMeasures = (over: Partial<HostMeasures> = {}): HostMeasures => ({
  atMs: 5000, status: hostStatus(), volumes: [volumeMeasures()],
  process: { startedMs: 1_800_000_000_000, cpuMs: 1500, residentBytes: 2 ** 27, loopDelayMs: { p50: 0.1, p99: 2, max: 4 }, longestDelaysUs: histogram(1) },
  certificateEndsMs: 1_900_000_000_000, suppressedLines: 3,
  events: [{ number: 7, time: '2026-01-02T03:04:05.678Z', level: 'warn', component: 'db01', message: 'hv09 is left out: no answer for 5000 ms' }], ...over,
})

export const fakeFigures = new Figures(hostMeasures, exposition)
