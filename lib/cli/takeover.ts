/** `holdfast volume takeover`. */
import { EXIT, Failure } from '../core/failure.js'
import type { TakeoverResult } from '../ports/control.js'
import type { TakeoverArguments } from './commands/volume.js'
import { controlOf } from './status.js'

export async function takeover(name: string, options: TakeoverArguments): Promise<void> {
  if (options.force !== (options.fenced !== undefined)) {
    throw new Failure(EXIT.usage, '--force and --fenced HOST belong together: name the host that you have powered off (nothing was changed)')
  }
  const result = await controlOf(options).takeover(name, { fenced: options.fenced ?? null, acceptLoss: options.acceptDataLoss ?? null })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : describeTakeover(result))
}

/** Ends with a newline. */
export function describeTakeover({ volume, epoch, from, quarantine, lost, seconds }: TakeoverResult): string {
  const lines = [`${volume} is owned by this host now, epoch ${epoch}${from === null ? '' : `, after ${from}`} (${seconds.toFixed(1)} s)` +
    `${quarantine ? '; in quarantine: late writes may still reach the storage, so nothing is destaged yet' : ''}`]
  if (lost !== null) {
    const known = lost.knownToWon > lost.afterWon ? ` (${lost.knownToWon} at least)` : ''
    lines.push(`LOST: acknowledged writes after ${lost.afterWon}${known}, up to epoch ${lost.epoch}, which only ${lost.hosts.join(', ')} had, where they were not on the backing; the claim says so for ever`)
  }
  return `${lines.join('\n')}\n`
}
