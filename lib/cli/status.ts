/** `holdfast status` and what `holdfast volume` does. */
import { formatBytes } from '../config/units.js'
import { loadConfig } from '../config/load.js'
import { hostSchema } from '../config/schema.js'
import { ControlClient } from '../control/client.js'
import { describeHost } from './describe.js'
import type { ControlArguments, FlushArguments } from './program.js'
import { progressLine } from './progress.js'

function controlOf({ control, config }: ControlArguments): ControlClient {
  if (control !== undefined) return new ControlClient(control)
  if (config !== undefined) return new ControlClient(loadConfig(config).host.control_socket)
  return new ControlClient(hostSchema.parse({ name: 'localhost' }).control_socket)
}

export async function status(options: ControlArguments): Promise<void> {
  const host = await controlOf(options).status()
  process.stdout.write(options.json ? `${JSON.stringify(host, null, 2)}\n` : describeHost(host))
}

export async function flush(name: string, options: FlushArguments): Promise<void> {
  const result = await controlOf(options).flush(name, options.progress ? progressLine(`flushing ${name}`) : () => undefined)
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${name} is on its backing up to write ${result.base} (${result.seconds.toFixed(1)} s)\n`)
}

export async function resize(name: string, options: ControlArguments): Promise<void> {
  const result = await controlOf(options).resize(name)
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n`
    : `${name} has ${formatBytes(result.afterBytes)}${result.afterBytes === result.beforeBytes ? ' as before' : `, up from ${formatBytes(result.beforeBytes)}`}\n`)
}
