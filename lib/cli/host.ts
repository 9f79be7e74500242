/** `holdfast host`. */
import { formatDuration } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import type { StopAnswer } from '../ports/control.js'
import type { CopiesArguments, MaintenanceArguments } from './commands/host.js'
import type { ControlArguments } from './commands/options.js'
import { controlOf, progressOf, readerOf } from './status.js'

export async function okToStop(options: ControlArguments): Promise<void> {
  const answer = await readerOf(options).okToStop()
  report(options, answer, answer, `${answer.host} may be stopped`)
}

export async function maintenance(state: 'on' | 'off', options: MaintenanceArguments): Promise<void> {
  const control = controlOf(options)
  if (state === 'off') {
    const result = await control.maintenanceOff()
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${result.host} is not in maintenance any more\n`)
    return
  }
  const result = await control.maintenanceOn(options.timeout, progressOf(options, 'draining'))
  report(options, result, result, `${result.host} is in maintenance and may be switched off (${result.seconds.toFixed(1)} s)`)
}

export async function copies(least: string, options: CopiesArguments): Promise<void> {
  if ((least === 'policy') !== (options.for === undefined)) {
    throw new Failure(EXIT.usage, least === 'policy' ? '"policy" has no end, so --for has no meaning' : 'say for how long, like --for 2h: fewer copies are a choice for a time')
  }
  const control = controlOf(options)
  const result = least === 'policy' ? await control.policyCopies() : await control.fewerCopies(Number(least), options.for!)
  const volumes = result.volumes.join(', ') || 'no volume'
  const text = least === 'policy' ? `${result.host}: the policy counts again for ${volumes}`
    : `${result.host}: for ${formatDuration(result.forMs)}, ${least} ${least === '1' ? 'copy' : 'copies'} will do for ${volumes}${result.volumes.length === 0 ? '' : '; what is not on the storage yet may be lost with this host'}`
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${text}\n`)
}

/** Throws Failure(unsafe), a line for each volume, when it is needed. */
function report(options: ControlArguments, result: object, { host, ok, reasons }: StopAnswer, done: string): void {
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  else if (ok) process.stdout.write(`${done}\n`)
  if (!ok) throw new Failure(EXIT.unsafe, reasons.map(({ volume, why }) => `${host} must not be stopped, volume ${volume}: ${why}`).join('\n'))
}
