/** `holdfast volume list`, `show`, `add` and `remove`. */
import { resolve } from 'node:path'
import { parse } from 'smol-toml'
import { volumeSchema } from '../config/schema.js'
import { EXIT, Failure } from '../core/failure.js'
import { describeVolume, describeVolumes } from './describe.js'
import type { ControlArguments, ProgressArguments } from './commands/options.js'
import type { AddArguments } from './commands/volume.js'
import { controlOf, print, progressOf, readerOf } from './status.js'

export async function list(options: ControlArguments): Promise<void> {
  const host = await readerOf(options).status()
  const all = [...host.volumes, ...host.waiting.map((waits) => ({ ...waits, phase: 'waiting' }))]
  process.stdout.write(options.json ? `${JSON.stringify(all, null, 2)}\n` : describeVolumes(host))
}

export async function show(name: string, options: ControlArguments): Promise<void> {
  const host = await readerOf(options).status(), volume = host.volumes.find((each) => each.name === name), waits = host.waiting.find((each) => each.name === name)
  if (waits !== undefined) throw new Failure(EXIT.unreachable, `volume ${name} waits for its storage: ${waits.reason}`)
  if (volume === undefined) throw new Failure(EXIT.usage, `no volume ${name} on this host; there are: ${[...host.volumes, ...host.waiting].map((each) => each.name).join(', ') || 'none'}`)
  process.stdout.write(options.json ? `${JSON.stringify(volume, null, 2)}\n` : `${describeVolume(volume, host)}\n`)
}

export async function add(name: string, options: AddArguments): Promise<void> {
  const result = await controlOf(options).addVolume(name, sectionOf(name, options))
  print(options, result, `${name} is served on ${result.socket}, now and after every start of the daemon`)
}

export async function remove(name: string, options: ProgressArguments): Promise<void> {
  const result = await controlOf(options).removeVolume(name, progressOf(options, `draining ${name}`))
  print(options, result, `${name} is not served any more; everything is on its backing (${result.seconds.toFixed(1)} s)`)
}

const SOCKETS = '/run/holdfast'
const PATHS = ['backing', 'socket', 'claims', 'journal']

/** Paths count from where the command is given, which the daemon does not know. Throws Failure(usage). */
function sectionOf(name: string, { backing, socket, set = [] }: AddArguments): Record<string, unknown> {
  const section: Record<string, unknown> = { socket: socket ?? `${SOCKETS}/${name}.sock`, ...(backing === undefined ? {} : { backing }) }
  for (const text of set) {
    const key = text.split('=')[0]!.trim()
    if (!text.includes('=') || !Object.hasOwn(volumeSchema.shape, key) || key === 'name') {
      throw new Failure(EXIT.usage, `--set ${text}: it must be KEY=VALUE, and the keys are ${Object.keys(volumeSchema.shape).filter((each) => each !== 'name').join(', ')}`)
    }
    try {
      Object.assign(section, parse(text))
    } catch (error) {
      throw new Failure(EXIT.usage, `--set ${text}: the value must be as in the configuration, where words are in quotation marks, like --set '${key}="value"'`, { cause: error })
    }
  }
  for (const path of PATHS) if (typeof section[path] === 'string') section[path] = resolve(section[path])
  return section
}
