/** What this process takes of the machine, and how late its event loop was: every volume of the host waits for it. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { LogHistogram } from '../core/log-histogram.js'
import { limits } from '../limits.js'
import type { ProcessMeasures } from '../ports/measures.js'

export class ProcessWatch {
  readonly #delay = monitorEventLoopDelay({ resolution: limits.loopDelayMs })
  /** Microseconds: the longest delay of each window. */
  readonly #longest = new LogHistogram(8, 25)
  readonly #timer: NodeJS.Timeout
  #last: ProcessMeasures['loopDelayMs'] = { p50: 0, p99: 0, max: 0 }

  constructor() {
    this.#delay.enable()
    this.#timer = setInterval(() => this.#look(), limits.loopWindowMs)
    this.#timer.unref()
  }

  #look(): void {
    if (this.#delay.count === 0) return
    // What is measured is from one timer to the next, of which the time between them is no delay.
    const ms = (ns: number): number => Math.max(0, ns / 1e6 - limits.loopDelayMs)
    this.#last = { p50: ms(this.#delay.percentile(50)), p99: ms(this.#delay.percentile(99)), max: ms(this.#delay.max) }
    this.#longest.add(this.#last.max * 1000)
    this.#delay.reset()
  }

  measure(): ProcessMeasures {
    const { user, system } = process.cpuUsage()
    return { startedMs: performance.timeOrigin, cpuMs: (user + system) / 1000, residentBytes: process.memoryUsage.rss(), loopDelayMs: this.#last, longestDelaysUs: this.#longest.snapshot() }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#delay.disable()
  }
}
