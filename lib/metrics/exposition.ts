/** The text of GET /metrics: made anew each time, so that no series stays of what is gone. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { boundOf, countOf } from '../core/log-histogram.js'
import type { HostMeasures } from '../ports/measures.js'
import type { HistogramSample, Labels, Metric, Sample } from './definition.js'
import { hostMetrics } from './host-metrics.js'
import { volumeMetrics, type VolumeFigures } from './volume-metrics.js'

/** Whose figures, with the labels of all of them. */
type Sources<T> = readonly (readonly [Labels, T])[]

export async function exposition(measures: HostMeasures): Promise<string> {
  const registry = new Registry()
  const volumes = measures.volumes.flatMap((volume): Sources<VolumeFigures> => {
    const status = measures.status.volumes.find(({ name }) => name === volume.name)
    return status === undefined ? [] : [[{ volume: status.name }, { status, measures: volume }]]
  })
  for (const metric of volumeMetrics) add(registry, metric, ['volume'], volumes)
  for (const metric of hostMetrics) add(registry, metric, [], [[{}, measures]])
  return registry.metrics()
}

function add<T>(registry: Registry, metric: Metric<T>, common: readonly string[], sources: Sources<T>): void {
  const { name, help } = metric, labelNames = [...common, ...metric.labels ?? []]
  if (metric.type === 'histogram') {
    // What never happened has no series: a volume has a dozen histograms, and uses half of them.
    registry.registerMetric(new CountedHistogram(name, help, labelled(sources, metric.read).filter(({ counts }) => countOf(counts) > 0)))
    return
  }
  const samples = labelled(sources, (from) => samplesOf(metric.read(from)))
  if (metric.type === 'gauge') {
    const gauge = new Gauge({ name, help, labelNames, registers: [registry] })
    if (labelNames.length === 0) gauge.remove()
    for (const { labels, value } of samples) gauge.set(labels, value)
  } else {
    const counter = new Counter({ name, help, labelNames, registers: [registry] })
    for (const { labels, value } of samples) counter.inc(labels, value)
  }
}

const labelled = <T, S extends { readonly labels: Labels }>(sources: Sources<T>, read: (from: T) => readonly S[]): S[] =>
  sources.flatMap(([labels, from]) => read(from).map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })))

function samplesOf(read: number | readonly Sample[] | null): readonly Sample[] {
  if (read === null) return []
  return typeof read === 'number' ? [{ labels: {}, value: read }] : read
}

/** The client counts what it observes itself; this one shows what was counted elsewhere. */
class CountedHistogram extends Gauge {
  readonly #likeness: Histogram
  readonly #samples: readonly HistogramSample[]

  constructor(name: string, help: string, samples: readonly HistogramSample[]) {
    super({ name, help, registers: [] })
    this.#likeness = new Histogram({ name, help, registers: [] })
    this.#samples = samples
  }

  override async get(): ReturnType<Gauge['get']> {
    const likeness = await this.#likeness.get(), { name } = likeness
    const values = this.#samples.flatMap(({ labels, counts, unit }) => {
      let sum = 0
      const buckets = counts.counts.map((n, bucket) => {
        const bound = boundOf(counts, bucket)
        return { metricName: `${name}_bucket`, labels: { ...labels, le: bound === Infinity ? '+Inf' : String(bound * unit) }, value: sum += n }
      })
      return [...buckets, { metricName: `${name}_sum`, labels, value: counts.sum * unit }, { metricName: `${name}_count`, labels, value: sum }]
    })
    return { ...likeness, values }
  }
}
