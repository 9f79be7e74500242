/** What a running host measures: for /metrics, the dashboard and `holdfast top`. All counts rise from the daemon's start. */
import type { HistogramCounts } from '../core/log-histogram.js'
import type { HostStatus } from './control.js'

export type LatencySource = 'guest' | 'region' | 'cache' | 'peer' | 'backing'
export type LatencyOp = 'read' | 'write' | 'flush' | 'discard'

/** Microseconds. */
export interface LatencyMeasure { readonly source: LatencySource; readonly op: LatencyOp; readonly us: HistogramCounts }

/** Where guest reads came from; `zero`: nowhere, it was known to be zeros. */
export interface ReadBytes { readonly log: number; readonly cache: number; readonly peer: number; readonly backing: number; readonly zero: number }

/** How far a member of the set is behind. */
export interface ReplicationLag {
  readonly host: string
  /** Sent, or to be sent, and not acknowledged by it. */
  readonly records: number
  /** Since when it owes an answer. */
  readonly owesMs: number
}

/** Of one volume, beside its status. */
export interface VolumeMeasures {
  readonly name: string
  /** The VM whose disk it is; null: not told. */
  readonly domain: string | null
  readonly copiesRequested: number
  readonly logBytes: number
  readonly maxDirtyAgeMs: number | null
  readonly latencies: readonly LatencyMeasure[]
  /** Bytes of a request. */
  readonly sizes: { readonly read: HistogramCounts; readonly write: HistogramCounts }
  readonly readBytes: ReadBytes
  readonly lags: readonly ReplicationLag[]
  /** Requests of the guest that are not answered, and how long the oldest of them has waited. */
  readonly inFlight: number
  readonly oldestMs: number
  /** Since the claim was renewed; null: this host does not serve it. */
  readonly renewAgeMs: number | null
}

export interface ProcessMeasures {
  /** Since 1970. */
  readonly startedMs: number
  /** User and system time, of all threads. */
  readonly cpuMs: number
  readonly residentBytes: number
  /** How late the event loop was, within about a second. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number }
  /** Microseconds: the longest delay of each second since the start. */
  readonly longestDelaysUs: HistogramCounts
}

/** Something that the daemon said in its log. */
export interface LoggedLine {
  /** Rises by one with each line. */
  readonly number: number
  /** ISO 8601. */
  readonly time: string
  readonly level: 'info' | 'warn'
  readonly component: string
  readonly message: string
}

export interface HostMeasures {
  /** Of a clock that only goes forward. */
  readonly atMs: number
  readonly status: HostStatus
  /** In the order of the status. */
  readonly volumes: readonly VolumeMeasures[]
  readonly process: ProcessMeasures
  /** Expiry of this host's certificate, milliseconds since 1970; null without one. */
  readonly certificateEndsMs: number | null
  /** Repeated log messages that were not written. */
  readonly suppressedLines: number
  /** The newest last. */
  readonly events: readonly LoggedLine[]
}
