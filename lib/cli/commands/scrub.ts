/** `holdfast scrub`. */
import { Command, Option } from 'commander'
import { EXIT } from '../../core/failure.js'
import { limits } from '../../limits.js'
import { integerArgument } from '../arguments.js'
import { type ProgressArguments, controlOptions, jsonOption, progressOption } from './options.js'

/** `rate`: MiB a second. */
export interface ScrubArguments extends ProgressArguments { readonly volume?: string; readonly rate: number }

export function scrub(): Command {
  const command = new Command('scrub').description('read back and check every record that the daemon here holds, and what its peers hold for its volumes')
    .option('--volume <name>', 'only this one')
    .addOption(new Option('--rate <mib/s>', 'read at most so many MiB a second').argParser(integerArgument(1, 100_000)).default(limits.scrubBytesPerSecond / 2 ** 20))
  for (const option of [progressOption(), ...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Guests go on. Damage is exit code ${EXIT.damaged}: each record with its place, and what to do. A log of a volume that is served here
is then read from its copies; without one, destaging and new writes stop. To have it done regularly: region.scrub_every.

Examples:
  holdfast scrub -p
  holdfast scrub --volume db01 --rate 500 --json | jq '.logs[] | select(.damage != [])'`)
    .action(async (options: ScrubArguments) => (await import('../scrub.js')).scrub(options))
}
