/**
 * Which volumes this host has: those of the configuration, which a reload changes, and those that were added at run time, which
 * outlive the daemon in its run-time state. One change at a time.
 */
import { withVolume, type ConfigDocument, type VolumeSection } from '../config/load.js'
import type { VolumeConfig } from '../config/schema.js'
import type { Logger } from '../control/log.js'
import type { ClaimMode } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Progress, VolumeAdded, VolumeLifecycle, VolumeRemoved } from '../ports/control.js'
import type { Host } from './host.js'
import type { VolumeSetup } from './host-volume.js'
import type { RunState } from './run-state.js'
import type { VolumeStarts } from './volume-starts.js'

export interface RegistryParts {
  readonly document: ConfigDocument
  readonly host: Host
  readonly starts: VolumeStarts
  readonly state: RunState
  readonly setup: (config: VolumeConfig, mode: ClaimMode | null) => VolumeSetup
  readonly log: Logger
}

export class VolumeRegistry implements VolumeLifecycle {
  readonly #parts: RegistryParts
  /** The file's, as it was read last. */
  #document: ConfigDocument
  /** With what else runs: what is added has to go with all of it. */
  #whole: ConfigDocument
  /** By name, as each of them runs. */
  readonly #inEffect = new Map<string, VolumeConfig>()
  #busy: string | null = null

  constructor(parts: RegistryParts) {
    this.#parts = parts
    this.#document = this.#whole = parts.document
  }

  get document(): ConfigDocument { return this.#document }

  #setup(config: VolumeConfig): VolumeSetup { return this.#parts.setup(config, this.#parts.state.modeOf(config.name)) }

  /** Throws Failure for a volume of the configuration; one that was added at run time keeps no other from starting. */
  async start(): Promise<void> {
    const { starts, state, log } = this.#parts, { volume: configured } = this.#document.config
    for (const config of configured) {
      this.#inEffect.set(config.name, config)
      // The file says the same by now: what it says next counts.
      if (state.modeOf(config.name) === config.policy) state.choose(config.name, null)
    }
    await starts.startAll(configured.map((config) => this.#setup(config)))
    for (const section of state.volumes) {
      if (this.#inEffect.has(section.name)) {
        log.info(`volume ${section.name} was added at run time and is in ${this.#document.path} now, which counts from here on`)
        state.remove(section.name)
        continue
      }
      try {
        this.#whole = withVolume(this.#whole, section, `volume ${section.name}`)
      } catch (error) {
        log.warn(`a volume that was added at run time is not started: ${(error as Error).message}`)
        continue
      }
      const config = this.#whole.config.volume.at(-1)!
      this.#inEffect.set(config.name, config)
      await starts.startOrWait(this.#setup(config))
    }
  }

  async #exclusive<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#busy !== null) throw new Failure(EXIT.unsafe, `${this.#busy} at the moment; try again when that is done (nothing was changed)`)
    this.#busy = what
    try { return await work() } finally { this.#busy = null }
  }

  // --- at run time -------------------------------------------------------------------------------------------------------------

  add(section: VolumeSection): Promise<VolumeAdded> {
    const { state, starts } = this.#parts, { name } = section
    if (typeof name !== 'string' || name === '') throw new Failure(EXIT.usage, 'a volume needs a name (nothing was changed)')
    return this.#exclusive(`volume ${name} is being added`, async () => {
      if (this.#inEffect.has(name)) throw new Failure(EXIT.usage, `volume ${name} is there already, ${this.#whose(name)} (nothing was changed)`)
      const whole = withVolume(this.#whole, section, `volume ${name}`), config = whole.config.volume.at(-1)!
      // Noted first: a crash in between leaves a volume that the next start has, and not a guest without its disk.
      state.add({ ...section, name })
      try {
        await starts.start(this.#setup(config))
      } catch (error) {
        state.remove(name)
        throw error
      }
      this.#whole = whole
      this.#inEffect.set(name, config)
      return { volume: name, socket: config.socket }
    })
  }

  #whose(name: string): string {
    return this.#inFile(name) ? `from ${this.#document.path}` : 'added at run time'
  }

  #inFile(name: string): boolean { return this.#document.config.volume.some((config) => config.name === name) }

  remove(name: string, progress: Progress): Promise<VolumeRemoved> {
    return this.#exclusive(`volume ${name} is being removed`, async () => {
      const { state, starts } = this.#parts, started = performance.now(), config = this.#inEffect.get(name)
      if (config === undefined) throw new Failure(EXIT.usage, `no volume ${name} on this host; there are: ${[...this.#inEffect.keys()].join(', ') || 'none'}`)
      if (this.#inFile(name)) {
        throw new Failure(EXIT.usage, `volume ${name} is from ${this.#document.path}: take its [[volume]] out there, then reload the daemon (SIGHUP, or systemctl reload holdfast) (nothing was changed)`)
      }
      await this.#drain(name, progress)
      if (!await starts.remove(name)) {
        await starts.startOrWait(this.#setup(config))
        throw new Failure(EXIT.unsafe, `volume ${name} was not removed: not everything of it could be brought to its backing; "holdfast status" says why`)
      }
      this.#inEffect.delete(name)
      this.#whole = without(this.#whole, name)
      state.remove(name)
      return { volume: name, seconds: (performance.now() - started) / 1000 }
    })
  }

  /** Everything is on its backing, and no guest is there. Throws Failure(unsafe). */
  async #drain(name: string, progress: Progress): Promise<void> {
    const { volume } = this.#parts.starts.runningNamed(name) ?? {}
    if (volume === undefined) return
    const refuseGuest = (): void => {
      if (volume.frontEnds > 0) throw new Failure(EXIT.unsafe, `a guest is connected to volume ${name}: shut it down or migrate it first (nothing was changed)`)
    }
    refuseGuest()
    if (volume.serving) await this.#parts.host.flush(name, null, progress)
    refuseGuest()
  }

  /** A mode that was chosen, in force or on its way. */
  chosen(name: string, mode: ClaimMode): void {
    this.#parts.state.choose(name, this.#inEffect.get(name)?.policy === mode ? null : mode)
  }

  // --- another configuration -----------------------------------------------------------------------------------------------------

  /** Takes over what can be changed now; the rest is said. Throws Failure when the whole of it does not go with what must stay. */
  reload(document: ConfigDocument): Promise<void> {
    return this.#exclusive('the configuration is being reloaded', async () => {
      const { log, state } = this.#parts, now = new Map(document.config.volume.map((config) => [config.name, config]))
      const before = [...this.#inEffect.keys()].filter((name) => this.#inFile(name) || !state.volumes.some((section) => section.name === name))
      const gone = before.filter((name) => !now.has(name)), stay = gone.filter((name) => this.#hasGuest(name))
      const kept = [...stay.map((name) => sectionOf(this.#whole, name)!), ...state.volumes.filter(({ name }) => !now.has(name))]
      const whole = kept.reduce((so, section) => withVolume(so, section, `with volume ${String(section['name'])}, which stays`), document)
      for (const name of stay) log.warn(`volume ${name} is not in ${document.path} any more, but a guest is connected: it stays until the guest is gone and the daemon is reloaded or started again`)
      for (const name of gone.filter((each) => !stay.includes(each))) await this.#give(name)
      this.#document = document
      this.#whole = whole
      for (const config of document.config.volume) await this.#bring(config)
    })
  }

  #hasGuest(name: string): boolean { return (this.#parts.starts.runningNamed(name)?.volume.frontEnds ?? 0) > 0 }

  async #give(name: string): Promise<void> {
    const { starts, state, log } = this.#parts
    const clean = await starts.remove(name)
    this.#inEffect.delete(name)
    state.choose(name, null)
    if (clean) log.info(`volume ${name} is not served any more`)
    else log.warn(`volume ${name} is not served any more, and not everything of it is on its backing: the rest is in the region and on its copies; put it back into the configuration to go on`)
  }

  /** New, or as the file says now. */
  async #bring(config: VolumeConfig): Promise<void> {
    const { starts, state, log } = this.#parts, { name } = config, before = this.#inEffect.get(name)
    if (before === undefined) {
      this.#inEffect.set(name, config)
      await starts.startOrWait(this.#setup(config))
      log.info(`volume ${name} is new`)
      return
    }
    const changed = changedKeys(before, config)
    if (changed.length === 0) return
    if (changed.length === 1 && changed[0] === 'policy' && this.#canChoose(config)) { this.#another(config); return }
    if (this.#hasGuest(name)) {
      log.warn(`volume ${name} goes on as it was, because a guest is connected: ${changed.join(', ')} will be others when the guest is gone and the daemon is reloaded or started again`)
      return
    }
    if (changed.includes('policy')) state.choose(name, null)
    await starts.remove(name)
    this.#inEffect.set(name, config)
    await starts.startOrWait(this.#setup(config))
    log.info(`volume ${name} was started again with another ${changed.join(', ')}`)
  }

  /** A volume that was started in write-through has no copies to go back to. */
  #canChoose({ name, policy, copies }: VolumeConfig): boolean {
    return policy === 'write-through' || this.#parts.starts.runningNamed(name)?.volume.driver.state.policy.copies === copies
  }

  /** The file was changed after the mode was chosen at run time. */
  #another(config: VolumeConfig): void {
    const { host, starts, state, log } = this.#parts, { name, policy } = config, running = starts.runningNamed(name)
    this.#inEffect.set(name, config)
    state.choose(name, null)
    if (running?.volume.serving !== true) { running?.volume.driver.dispatch({ type: 'policy', mode: policy }); return }
    host.policy(name, policy, () => undefined).then(({ effective }) => log.info(`volume ${name} is ${effective} now`), (error: Error) => log.warn(error.message))
  }
}

/** The keys of two sections that differ. */
export function changedKeys(before: object, after: object): string[] {
  const value = (section: object, key: string): string | undefined => JSON.stringify((section as Record<string, unknown>)[key])
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((key) => value(before, key) !== value(after, key))
}

const sections = ({ raw }: ConfigDocument): readonly VolumeSection[] => raw['volume'] as readonly VolumeSection[] | undefined ?? []
const sectionOf = (document: ConfigDocument, name: string): VolumeSection | undefined => sections(document).find((section) => section['name'] === name)

function without(document: ConfigDocument, name: string): ConfigDocument {
  const { raw, config } = document
  return {
    ...document, raw: { ...raw, volume: sections(document).filter((section) => section['name'] !== name) },
    config: { ...config, volume: config.volume.filter((each) => each.name !== name) },
  }
}
