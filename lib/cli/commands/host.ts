/** `holdfast host`. */
import { Argument, Command, Option } from 'commander'
import { EXIT } from '../../core/failure.js'
import { limits } from '../../limits.js'
import { durationArgument } from '../arguments.js'
import { type ControlArguments, type ProgressArguments, controlOptions, jsonOption, progressOption } from './options.js'

/** `timeout`: milliseconds. */
export interface MaintenanceArguments extends ProgressArguments { readonly timeout: number }
/** `for`: milliseconds. */
export interface CopiesArguments extends ControlArguments { readonly for?: number }

export function host(): Command {
  return new Command('host').description('act on this host').addCommand(okToStop()).addCommand(maintenance()).addCommand(copies())
}

function okToStop(): Command {
  const command = new Command('ok-to-stop').description('may this host be stopped now? One line for each volume that it is needed for')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Exit code 0: every acknowledged write of every volume is on its backing, or has the copies that its policy asks for on other
hosts, and no guest is served here. ${EXIT.unsafe}: not now. ${EXIT.unreachable}: no daemon answers, so nothing is known.

Example:
  holdfast host ok-to-stop && systemctl reboot`)
    .action(async (options: ControlArguments) => (await import('../host.js')).okToStop(options))
}

function maintenance(): Command {
  const command = new Command('maintenance').description('make this host one that may be switched off (on), or a candidate for copies again (off)')
    .addArgument(new Argument('<state>', 'what it is to be').choices(['on', 'off']))
    .addOption(new Option('--timeout <time>', 'give up waiting after this long').argParser(durationArgument).default(limits.maintenanceTimeoutMs, '10m'))
  for (const option of [progressOption(), ...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
on: other hosts move their copies from here to other hosts; where there is none, the volume goes on in write-through. What is
dirty here is brought to the storage. Exit code 0 only when it is safe to switch this host off. Guests that run here are not
touched: migrate them, then ask "holdfast host ok-to-stop". Whatever the answer, the host stays in maintenance, over restarts
of the daemon as well, until it is switched off.

Examples:
  holdfast host maintenance on -p && systemctl reboot
  holdfast host maintenance off`)
    .action(async (state: 'on' | 'off', options: MaintenanceArguments) => (await import('../host.js')).maintenance(state, options))
}

function copies(): Command {
  const command = new Command('copies').description('for a limited time, be content with fewer copies of the volumes that this host serves; "policy" ends it')
    .addArgument(new Argument('<least>', 'copies besides this host that will do').choices([...Array.from({ length: limits.copiesMax }, (_, i) => String(i)), 'policy']))
    .addOption(new Option('--for <time>', 'then the policy counts again by itself').argParser(durationArgument))
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
For two hosts of which one is away for maintenance: without this the volumes of the other go on in write-through. With 0 an
acknowledged write is on this host alone until it is on the storage: if this host is lost then, that write is lost. "status"
shows it with the time left. Copies are made as soon as, and as long as, there is a host for them. A daemon that is started
again knows nothing of it.

Example:
  holdfast host copies 0 --for 2h          # on the host that stays`)
    .action(async (least: string, options: CopiesArguments) => (await import('../host.js')).copies(least, options))
}
