/** What a host measures, put together when somebody asks: nothing of it costs anything between two questions. */
import { native } from 'vhost-user-ts-bindings'
import type { HostMeasures, VolumeMeasures } from '../ports/measures.js'
import type { LogHistory } from '../control/log.js'
import type { Host, HostedVolume } from './host.js'
import type { ProcessWatch } from './process-watch.js'

export interface MeasuredParts {
  readonly watch: ProcessWatch
  readonly log: LogHistory
  readonly certificateEndsMs: number | null
}

export function measureHost(host: Host, { watch, log, certificateEndsMs }: MeasuredParts): HostMeasures {
  const nowMs = native.bootTimeMs()
  return {
    atMs: nowMs, status: host.status(), volumes: [...host.volumes].map((hosted) => measureVolume(hosted, nowMs)), process: watch.measure(),
    certificateEndsMs, suppressedLines: log.suppressed, events: log.recent,
  }
}

function measureVolume({ volume, domain, device }: HostedVolume, nowMs: number): VolumeMeasures {
  const { requests, sinceMs } = device?.waits() ?? { requests: 0, sinceMs: null }
  return {
    name: volume.name, domain, copiesRequested: volume.driver.state.policy.copies, logBytes: volume.logBytes, maxDirtyAgeMs: volume.maxDirtyAgeMs, ...volume.counters.measured.snapshot(), lags: volume.writes.lags,
    inFlight: requests, oldestMs: sinceMs === null ? 0 : Math.max(0, nowMs - sinceMs), renewAgeMs: volume.renewal.ageMs,
  }
}
