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

interface Later { readonly stopped: AbortController; readonly ended: Promise<void> }

export class VolumeStarts {
  readonly #running = new Map<string, RunningVolume>()
  readonly #host: Host
  readonly #log: Logger
  /** By name. */
  readonly #later = new Map<string, Later>()

  constructor(host: Host, log: Logger) {
    this.#host = host
    this.#log = log
  }

  get running(): RunningVolume[] { return [...this.#running.values()] }
  runningNamed(name: string): RunningVolume | undefined { return this.#running.get(name) }

  /** Resolves when each of them runs, or waits. Throws Failure for what waiting does not mend. */
  async startAll(setups: readonly VolumeSetup[]): Promise<void> {
    // All storages at the same time: those that hang are waited for once.
    const unreachable = await Promise.all(setups.map(whyUnreachable))
    for (const [i, setup] of setups.entries()) {
      const reason = unreachable[i] ?? await this.#start(setup)
      if (reason !== null) this.#wait(setup, reason)
    }
  }

  /** It runs afterwards. Throws Failure, also for a storage that does not answer. */
  async start(setup: VolumeSetup): Promise<void> {
    const reason = await whyUnreachable(setup) ?? await this.#start(setup)
    if (reason !== null) throw new Failure(EXIT.unreachable, `volume ${setup.config.name}: ${reason} (nothing was changed)`)
  }

  /** It runs afterwards, or waits, whatever is wrong with it. */
  async startOrWait(setup: VolumeSetup): Promise<void> {
    const reason = await whyUnreachable(setup) ?? await this.#start(setup).catch((error: Error) => error.message)
    if (reason !== null) this.#wait(setup, reason)
  }

  #wait(setup: VolumeSetup, reason: string): void {
    const { name, socket } = setup.config, stopped = new AbortController()
    this.#log.child(name).warn(`not started yet: ${reason}; it is tried every ${limits.storageRetryMs / 1000} s`)
    this.#host.waits(name, socket, reason)
    this.#later.set(name, { stopped, ended: this.#again(setup, stopped.signal).finally(() => this.#later.delete(name)) })
  }

  /** Null when it runs; else what it waits for. */
  async #start(setup: VolumeSetup): Promise<string | null> {
    try {
      const hosted = await startVolume(this.#host, setup, this.#log.child(setup.config.name))
      this.#running.set(setup.config.name, hosted)
      this.#host.add(hosted)
      // Peers that connected while its image was looked at told the others only.
      hosted.volume.membersChanged()
      return null
    } catch (error) {
      if (error instanceof Failure && error.exitCode === EXIT.unreachable) return error.message
      throw error
    }
  }

  async #again(setup: VolumeSetup, signal: AbortSignal): Promise<void> {
    const { name, socket } = setup.config
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

  /** It is not tried any more; nothing happens for one that does not wait. It may have been started meanwhile. */
  async #forget(name: string): Promise<void> {
    const later = this.#later.get(name)
    later?.stopped.abort()
    await later?.ended
  }

  /** Gives it up, within a bound; the host does not know it any more. False: dirty data of it is left in the region. */
  async remove(name: string): Promise<boolean> {
    await this.#forget(name)
    const hosted = this.#running.get(name)
    const clean = await hosted?.stop(limits.stopTimeoutMs) ?? true
    this.#running.delete(name)
    this.#host.remove(name)
    if (clean) {
      hosted?.clean?.drop()
      hosted?.volume.close()
    }
    return clean
  }

  /** Nothing is started any more. */
  async stop(): Promise<void> { await Promise.all([...this.#later.keys()].map((name) => this.#forget(name))) }
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
