/**
 * Starting the volumes of a host. One whose storage does not answer keeps nobody else waiting: opening a file of it would stop
 * this process for as long as that lasts, so a claim worker looks first. It is tried again until the storage is back.
 */
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../control/log.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type { Host } from './host.js'
import { startVolume, type RunningVolume, type VolumeSetup } from './host-volume.js'

export class VolumeStarts {
  readonly running: RunningVolume[] = []
  readonly #host: Host
  readonly #log: Logger
  readonly #stopped = new AbortController()
  readonly #later = new Set<Promise<void>>()

  constructor(host: Host, log: Logger) {
    this.#host = host
    this.#log = log
  }

  /** Resolves when each of them runs, or waits. Throws Failure for what waiting does not mend. */
  async startAll(setups: readonly VolumeSetup[]): Promise<void> {
    // All storages at the same time: those that hang are waited for once.
    const unreachable = await Promise.all(setups.map(whyUnreachable))
    for (const [i, setup] of setups.entries()) {
      const reason = unreachable[i] ?? await this.#start(setup)
      if (reason === null) continue
      const { name, socket } = setup.config
      this.#log.child(name).warn(`not started yet: ${reason}; it is tried every ${limits.storageRetryMs / 1000} s`)
      this.#host.waits(name, socket, reason)
      const later = this.#again(setup).finally(() => this.#later.delete(later))
      this.#later.add(later)
    }
  }

  /** Null when it runs; else what it waits for. */
  async #start(setup: VolumeSetup): Promise<string | null> {
    try {
      const hosted = await startVolume(this.#host, setup, this.#log.child(setup.config.name))
      this.running.push(hosted)
      this.#host.add(hosted)
      // Peers that connected while its image was looked at told the others only.
      hosted.volume.membersChanged()
      return null
    } catch (error) {
      if (error instanceof Failure && error.exitCode === EXIT.unreachable) return error.message
      throw error
    }
  }

  async #again(setup: VolumeSetup): Promise<void> {
    const { name, socket } = setup.config, { signal } = this.#stopped
    for (let said = ''; ;) {
      await sleep(limits.storageRetryMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      // What a start would have ended with is said here instead: others are served meanwhile.
      const reason = await whyUnreachable(setup) ?? await this.#start(setup).catch((error: Error) => error.message)
      if (reason === null) { this.#log.child(name).info('started: its storage answers'); return }
      this.#host.waits(name, socket, reason)
      if (reason !== said) this.#log.child(name).warn(`not started yet: ${reason}`)
      said = reason
    }
  }

  /** Nothing is started any more. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    await Promise.all(this.#later)
  }
}

/** A blockdev's storage is its qemu-storage-daemon's matter. */
async function whyUnreachable({ config, claims }: VolumeSetup): Promise<string | null> {
  const { backing } = config
  if (typeof backing !== 'string') return null
  try {
    await claims.reach(resolve(backing))
    return null
  } catch (error) {
    return (error as Error).message
  }
}
