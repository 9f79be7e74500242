/** Keeps one qemu-storage-daemon running, with growing pauses between one that ended and the next. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { VhostClient } from '../../client/front-end.js'
import { limits } from '../../limits.js'
import type { RunDirectory } from './run-directory.js'
import { StorageDaemon } from './storage-daemon.js'
import type { BlockdevNode, OpenMode } from './node.js'

export interface SupervisorEvents {
  /** Requests may go out. */
  up(client: VhostClient): void
  /** No more of them: the client's memory is gone. */
  lost(): void
  /** The process is gone for certain: nothing that was given to it is under way any more, here. */
  down(): void
  warn(message: string): void
}

export class Supervisor {
  readonly #node: BlockdevNode
  readonly #mode: OpenMode
  readonly #directory: RunDirectory
  readonly #events: SupervisorEvents
  readonly #stopping = new AbortController()
  #daemon: StorageDaemon | null = null
  #running: Promise<void> | null = null

  constructor(node: BlockdevNode, mode: OpenMode, directory: RunDirectory, events: SupervisorEvents) {
    this.#node = node
    this.#mode = mode
    this.#directory = directory
    this.#events = events
  }

  /** Resolves when the first one serves; throws its Failure, and nothing is kept running then. */
  async startNow(): Promise<void> {
    const first = await this.#start()
    this.#running = this.#keep(first)
  }

  /** The same without waiting: an image that cannot be opened now may be opened later. */
  start(): void { this.#running = this.#keep(null) }

  #start(): Promise<StorageDaemon> {
    return StorageDaemon.start({
      node: this.#node, mode: this.#mode, directory: this.#directory, signal: this.#stopping.signal,
      lost: () => this.#events.lost(), warn: (m) => this.#events.warn(m),
    })
  }

  async #keep(first: StorageDaemon | null): Promise<void> {
    let pauseMs: number = limits.blockdevRestartMinMs
    for (let next = first; !this.#stopping.signal.aborted; next = null) {
      const sinceMs = performance.now()
      const why = await this.#run(next)
      if (this.#stopping.signal.aborted) return
      if (performance.now() - sinceMs > limits.blockdevSteadyMs) pauseMs = limits.blockdevRestartMinMs
      this.#events.warn(`${why}; the next one is started in ${pauseMs} ms`)
      await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, limits.blockdevRestartMaxMs)
    }
  }

  /** From one's start to its end; resolves with the reason. */
  async #run(started: StorageDaemon | null): Promise<string> {
    try {
      this.#daemon = started ?? await this.#start()
    } catch (error) {
      return (error as Error).message
    }
    if (this.#stopping.signal.aborted) await this.#daemon.stop()
    else this.#events.up(this.#daemon.client)
    const why = await this.#daemon.ended
    this.#daemon = null
    this.#events.down()
    return `qemu-storage-daemon ${why}`
  }

  /** Resolves when no process is left. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#daemon?.stop()
    await this.#running
  }

  kill(): void {
    this.#stopping.abort()
    this.#daemon?.kill()
  }
}
