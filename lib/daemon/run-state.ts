/**
 * What was decided at run time and outlives the daemon: volumes that were added, and modes that were chosen. A file beside the region,
 * like the note of maintenance; a host that has decided nothing has none.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import type { VolumeSection } from '../config/load.js'
import type { ClaimMode } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'

const FORMAT = 1
const schema = z.strictObject({
  format: z.literal(FORMAT),
  volumes: z.array(z.looseObject({ name: z.string() })),
  modes: z.record(z.string(), z.enum(['write-back', 'write-through'])),
})

export class RunState {
  readonly path: string
  #volumes: readonly (VolumeSection & { readonly name: string })[]
  #modes: ReadonlyMap<string, ClaimMode>

  /** Throws Failure(config): to go on without it would leave guests without their disks. */
  constructor(path: string) {
    this.path = path
    const { volumes, modes } = read(path)
    this.#volumes = volumes
    this.#modes = new Map(Object.entries(modes))
  }

  /** As they were written when they were added. */
  get volumes(): readonly (VolumeSection & { readonly name: string })[] { return this.#volumes }
  /** Null: the configuration's. */
  modeOf(volume: string): ClaimMode | null { return this.#modes.get(volume) ?? null }

  /** Durable when it returns, as the others. */
  add(section: VolumeSection & { readonly name: string }): void { this.#keep([...this.#volumes, section], this.#modes) }

  /** Nothing is known of it any more. */
  remove(name: string): void {
    this.#keep(this.#volumes.filter((each) => each.name !== name), new Map([...this.#modes].filter(([volume]) => volume !== name)))
  }

  choose(volume: string, mode: ClaimMode | null): void {
    if (this.modeOf(volume) === mode) return
    const modes = new Map(this.#modes)
    if (mode === null) modes.delete(volume)
    else modes.set(volume, mode)
    this.#keep(this.#volumes, modes)
  }

  #keep(volumes: typeof this.volumes, modes: ReadonlyMap<string, ClaimMode>): void {
    const empty = volumes.length === 0 && modes.size === 0
    try {
      mkdirSync(dirname(this.path), { recursive: true })
      if (empty) rmSync(this.path, { force: true })
      else {
        writeFileSync(`${this.path}.new`, `${JSON.stringify({ format: FORMAT, volumes, modes: Object.fromEntries(modes) }, null, 2)}\n`, { mode: 0o600, flush: true })
        renameSync(`${this.path}.new`, this.path)
      }
      syncFolder(this.path)
    } catch (error) {
      throw new Failure(EXIT.config, `what is decided at run time cannot be noted in ${this.path}: ${(error as Error).message} (nothing was changed)`, { cause: error })
    }
    this.#volumes = volumes
    this.#modes = modes
  }
}

function read(path: string): z.output<typeof schema> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { format: FORMAT, volumes: [], modes: {} }
    throw unreadable(path, (error as Error).message)
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch (error) {
    throw unreadable(path, error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', ' ') : (error as Error).message)
  }
}

const unreadable = (path: string, why: string): Failure =>
  new Failure(EXIT.config, `${path}, which says what volumes were added at run time, cannot be read: ${why}; mend it, or move it away to start without them`)

function syncFolder(path: string): void {
  const fd = openSync(dirname(path), 'r')
  try { fsyncSync(fd) } finally { closeSync(fd) }
}
