/** What the charts show: moments of each volume, as many as fit; the oldest go. */
import type { HistogramCounts } from '../lib/core/log-histogram.js'
import { savedSoFar, type HostRates, type VolumeRates } from '../lib/live/rates.js'
import type { ReadBytes } from '../lib/ports/measures.js'

export const HISTORY_SECONDS = 600
const MOMENTS_MAX = 60_000

export interface Moment {
  /** Seconds since 1970: when the page heard of it. */
  readonly at: number
  readonly latencies: VolumeRates['latencies']
  readonly perSecond: VolumeRates['perSecond']
  readonly bytesPerSecond: VolumeRates['bytesPerSecond']
  readonly readBytesPerSecond: ReadBytes
  readonly destagedPerSecond: number
  readonly hitRate: number | null
  /** Since the daemon started. */
  readonly saved: { readonly bytes: number; /** Of the guest's requests. */ readonly share: number | null }
  readonly dirtyBytes: number
  readonly drainedInMs: number | null
  readonly lags: Readonly<Record<string, number>>
  readonly sizes: { readonly read: HistogramCounts; readonly write: HistogramCounts }
}

export class History {
  readonly #volumes = new Map<string, Moment[]>()

  add(rates: HostRates, at: number): void {
    const most = Math.max(60, Math.min(HISTORY_SECONDS, Math.floor(MOMENTS_MAX / Math.max(1, rates.volumes.length))))
    const names = new Set(rates.volumes.map(({ status }) => status.name))
    for (const name of this.#volumes.keys()) if (!names.has(name)) this.#volumes.delete(name)
    for (const volume of rates.volumes) {
      const { name } = volume.status, moments = this.#volumes.get(name) ?? []
      moments.push(momentOf(volume, at))
      if (moments.length > most) moments.splice(0, moments.length - most)
      this.#volumes.set(name, moments)
    }
  }

  of(name: string, seconds: number, now: number): readonly Moment[] { return (this.#volumes.get(name) ?? []).filter(({ at }) => at > now - seconds) }
}

function momentOf({ status, measures, ...rates }: VolumeRates, at: number): Moment {
  const { latencies, perSecond, bytesPerSecond, readBytesPerSecond, destagedPerSecond, hitRate, sizes } = rates
  const { guestReads, guestWrites, guestFlushes } = status.counters, saved = savedSoFar(status, measures), requests = guestReads + guestWrites + guestFlushes
  return {
    at, latencies, perSecond, bytesPerSecond, readBytesPerSecond, destagedPerSecond, hitRate, sizes, saved: { bytes: saved.bytes, share: requests === 0 ? null : saved.requests / requests }, dirtyBytes: status.dirtyBytes,
    drainedInMs: status.dirtyBytes === 0 ? 0 : status.outlook.drainedInMs, lags: Object.fromEntries(measures.lags.map(({ host, owesMs }) => [host, owesMs])),
  }
}
