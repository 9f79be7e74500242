/**
 * Has the text of /metrics written in a thread of its own. With forty volumes that takes a tenth of a second and makes a lot of
 * garbage, for which every guest of the host would wait.
 */
import { Worker } from 'node:worker_threads'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type { HostMeasures } from '../ports/measures.js'
import type { Answered, Asked } from './exposition-thread.js'

interface Waiting { readonly resolve: (text: string) => void; readonly reject: (why: Failure) => void; readonly timer: NodeJS.Timeout }

export class Renderer {
  #worker: Worker | null = null
  #asked = 0
  readonly #waiting = new Map<number, Waiting>()

  render(measures: HostMeasures): Promise<string> {
    if (this.#waiting.size >= limits.metricsWaitingMax) return Promise.reject(busy('is asked for faster than it can be written'))
    const id = ++this.#asked
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#answer(id, null, `took more than ${limits.metricsTextMs / 1000} s`), limits.metricsTextMs)
      timer.unref()
      this.#waiting.set(id, { resolve, reject, timer })
      this.#thread().postMessage({ id, measures } satisfies Asked)
    })
  }

  /** Made when it is needed first; one that ended is made anew. */
  #thread(): Worker {
    if (this.#worker !== null) return this.#worker
    const worker = new Worker(new URL('./exposition-thread.js', import.meta.url))
    worker.unref()
    worker.on('message', ({ id, text, problem }: Answered) => this.#answer(id, text, problem))
    worker.on('error', (error) => this.#ended(worker, `its thread ended: ${error.message}`))
    worker.on('exit', () => this.#ended(worker, 'its thread ended'))
    return this.#worker = worker
  }

  #answer(id: number, text: string | null, problem: string | null): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    clearTimeout(waiting.timer)
    if (text === null) waiting.reject(busy(problem ?? 'has no answer'))
    else waiting.resolve(text)
  }

  #ended(worker: Worker, why: string): void {
    if (this.#worker !== worker) return
    this.#worker = null
    for (const id of [...this.#waiting.keys()]) this.#answer(id, null, why)
  }

  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === null) return
    this.#ended(worker, 'the daemon stops')
    await worker.terminate()
  }
}

const busy = (why: string): Failure => new Failure(EXIT.unreachable, `/metrics ${why}; ask again later`)
