/** How a metric is described: once, for /metrics and for docs/observability.md, which is tested against it. */
import type { HistogramCounts } from '../core/log-histogram.js'

export type Labels = Readonly<Record<string, string>>

export interface Sample { readonly labels: Labels; readonly value: number }
/** `unit`: by what the histogram's values are multiplied to be in the metric's own unit. */
export interface HistogramSample { readonly labels: Labels; readonly counts: HistogramCounts; readonly unit: number }

interface Named {
  readonly name: string
  readonly help: string
  /** Besides those that all of its kind have. */
  readonly labels?: readonly string[]
}

export interface NumberMetric<T> extends Named {
  readonly type: 'gauge' | 'counter'
  /** One value; several, each with its labels; null: there is none now. */
  readonly read: (from: T) => number | readonly Sample[] | null
}

export interface HistogramMetric<T> extends Named {
  readonly type: 'histogram'
  readonly read: (from: T) => readonly HistogramSample[]
}

export type Metric<T> = NumberMetric<T> | HistogramMetric<T>

export const MS = 1 / 1000
export const US = 1 / 1_000_000
export const flag = (is: boolean): number => is ? 1 : 0
/** Labels of which each comes and goes would be a new series each time. */
export const steady = (text: string): string => text.replace(/\d+/g, '#')
