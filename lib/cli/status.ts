/** `holdfast status` and what `holdfast volume` does. */
import { accessSync, constants } from 'node:fs'
import { formatBytes, formatDuration } from '../config/units.js'
import { loadConfig } from '../config/load.js'
import { hostSchema } from '../config/schema.js'
import { ControlClient } from '../control/client.js'
import { EXIT, Failure } from '../core/failure.js'
import type { CacheAction, Progress, VolumeChoice } from '../ports/control.js'
import { describeHost } from './describe.js'
import type { ControlArguments, ProgressArguments } from './commands/options.js'
import type { DiscardArguments, FlushArguments, FreezeArguments } from './commands/volume.js'
import { progressLine } from './progress.js'

/** Where the packaged configuration has it. */
const STATUS_SOCKET = '/run/holdfast/status.sock'
const defaults = () => hostSchema.parse({ name: 'localhost' })

export function controlOf({ control, config }: ControlArguments): ControlClient {
  if (control !== undefined) return new ControlClient(control)
  if (config !== undefined) return new ControlClient(loadConfig(config).host.control_socket)
  return new ControlClient(defaults().control_socket)
}

/** For what only shows: by the other socket, where this user may not use the first. */
export function readerOf(options: ControlArguments): ControlClient {
  const { control, config } = options
  if (control !== undefined) return controlOf(options)
  const { control_socket: operators, status_socket: readers } = config === undefined ? { ...defaults(), status_socket: STATUS_SOCKET } : loadConfig(config).host
  return readers !== undefined && !mayUse(operators) && mayUse(readers) ? new ControlClient(readers) : new ControlClient(operators)
}

function mayUse(socket: string): boolean {
  try {
    accessSync(socket, constants.W_OK)
    return true
  } catch {
    return false
  }
}

export async function status(options: ControlArguments): Promise<void> {
  const host = await readerOf(options).status()
  process.stdout.write(options.json ? `${JSON.stringify(host, null, 2)}\n` : describeHost(host))
}

export const progressOf = (options: ProgressArguments, what: string): Progress => options.progress ? progressLine(what) : () => undefined
export const print = (options: ControlArguments, result: unknown, text: string): void => void process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${text}\n`)

export async function flush(name: string, options: FlushArguments): Promise<void> {
  const result = await controlOf(options).flush(name, options.to ?? null, progressOf(options, `flushing ${name}`))
  print(options, result, `${name} is on its backing up to write ${result.base} (${result.seconds.toFixed(1)} s)`)
}

function choiceOf(name: string | undefined, domain: string | undefined): VolumeChoice {
  if (name !== undefined && domain === undefined) return { volume: name }
  if (domain !== undefined && name === undefined) return { domain }
  throw new Failure(EXIT.usage, 'give either a volume or --domain NAME')
}

export async function freeze(name: string | undefined, options: FreezeArguments): Promise<void> {
  const result = await controlOf(options).freeze(choiceOf(name, options.domain), options.for, progressOf(options, 'freezing'))
  print(options, result, result.volumes.map(({ volume, cut, fullInMs }) =>
    `${volume} is on its backing exactly as of write ${cut}, for ${formatDuration(options.for)} at most` +
    `${fullInMs === null ? '' : `; at the present rate the region is full in ${Math.round(fullInMs / 1000)} s`}`).join('\n'))
}

export async function thaw(name: string | undefined, options: FreezeArguments): Promise<void> {
  const result = await controlOf(options).thaw(choiceOf(name, options.domain))
  print(options, result, result.volumes.map(({ volume, cut, heldMs }) => `${volume} was held at write ${cut} for ${(heldMs / 1000).toFixed(1)} s`).join('\n'))
}

export async function policy(name: string, mode: 'write-back' | 'write-through', options: ProgressArguments): Promise<void> {
  const result = await controlOf(options).policy(name, mode, progressOf(options, `draining ${name}`))
  print(options, result, `${name} is now ${result.effective} (${result.seconds.toFixed(1)} s)`)
}

export async function cache(name: string, action: CacheAction, options: ControlArguments): Promise<void> {
  const result = await controlOf(options).cache(name, action)
  print(options, result, `${name} has ${formatBytes(result.cleanBytes)} of clean data in the region${result.populating ? '' : '; what reads miss is not put there'}`)
}

export async function discardDirty(name: string, options: DiscardArguments): Promise<void> {
  if (!options.acceptDataLoss) throw new Failure(EXIT.usage, `what is dirty of ${name} is lost for ever by this; say --accept-data-loss (nothing was changed)`)
  const result = await controlOf(options).discardDirty(name)
  print(options, result, `${name}: ${formatBytes(result.lostBytes)} of dirty data are given up at epoch ${result.epoch}, which its claim records; its image is served as it is`)
}

export async function resize(name: string, options: ControlArguments): Promise<void> {
  const result = await controlOf(options).resize(name)
  print(options, result, `${name} has ${formatBytes(result.afterBytes)}${result.afterBytes === result.beforeBytes ? ' as before' : `, up from ${formatBytes(result.beforeBytes)}`}`)
}
