/** How long things took, and how large they were, for one volume: counters that are there from the start, so that measuring allocates nothing. */
import { LogHistogram } from '../core/log-histogram.js'
import { REQUEST_KIND, type RequestKind } from '../ports/guest.js'
import type { LatencyMeasure, VolumeMeasures } from '../ports/measures.js'
import type { Source } from './volume-index.js'

/** Microseconds: 16 us to 34 s. */
const latency = (): LogHistogram => new LogHistogram(4, 25)
/** Bytes: 512 to 32 MiB, the largest request. */
const size = (): LogHistogram => new LogHistogram(9, 25)

export class Measurements {
  /** From when a request was found in the ring, or was held there, until the guest was told. */
  readonly guest = { read: latency(), write: latency(), flush: latency(), discard: latency() }
  /** The own region's disk: reads of dirty data, appends, flushes. */
  readonly region = { read: latency(), write: latency(), flush: latency() }
  /** Clean data in the region. */
  readonly cache = { read: latency() }
  /** Other hosts: reads of what only they have; until a record was acknowledged, or a flush. */
  readonly peer = { read: latency(), write: latency(), flush: latency() }
  readonly backing = { read: latency(), write: latency(), flush: latency() }
  readonly sizes = { read: size(), write: size() }
  /** Bytes of guest reads by where they came from, in the order of SOURCE. */
  readonly #readBytes = new Float64Array(5)

  took(kind: RequestKind, ms: number): void {
    const { guest } = this
    const histogram = kind === REQUEST_KIND.read ? guest.read : kind === REQUEST_KIND.write ? guest.write : kind === REQUEST_KIND.flush ? guest.flush : guest.discard
    histogram.add(ms * 1000)
  }

  readFrom(source: Source, bytes: number): void { this.#readBytes[source]! += bytes }

  snapshot(): Pick<VolumeMeasures, 'latencies' | 'sizes' | 'readBytes'> {
    const { guest, region, cache, peer, backing, sizes } = this
    const latencies: LatencyMeasure[] = []
    for (const [source, histograms] of Object.entries({ guest, region, cache, peer, backing })) {
      for (const [op, histogram] of Object.entries(histograms)) latencies.push({ source: source as LatencyMeasure['source'], op: op as LatencyMeasure['op'], us: histogram.snapshot() })
    }
    const [fromBacking, log, zero, remote, clean] = this.#readBytes
    return {
      latencies, sizes: { read: sizes.read.snapshot(), write: sizes.write.snapshot() },
      readBytes: { log: log!, cache: clean!, peer: remote!, backing: fromBacking!, zero: zero! },
    }
  }
}
