/** The host's figures for whoever asks, taken so often at most: many who look cost no more than one. */
import { limits } from '../limits.js'
import type { HostMeasures } from '../ports/measures.js'

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

interface Taken { readonly atMs: number; readonly measures: HostMeasures; text: Promise<string> | null }

export class Figures {
  readonly #measure: () => HostMeasures
  readonly #render: (measures: HostMeasures) => Promise<string>
  #taken: Taken | null = null

  constructor(measure: () => HostMeasures, render: (measures: HostMeasures) => Promise<string>) {
    this.#measure = measure
    this.#render = render
  }

  measures(): HostMeasures { return this.#fresh().measures }

  /** For Prometheus. */
  metrics(): Promise<string> {
    const taken = this.#fresh()
    return taken.text ??= this.#render(taken.measures)
  }

  #fresh(): Taken {
    const nowMs = performance.now(), taken = this.#taken
    if (taken !== null && nowMs - taken.atMs < limits.httpFiguresMs) return taken
    return this.#taken = { atMs: nowMs, measures: this.#measure(), text: null }
  }
}
