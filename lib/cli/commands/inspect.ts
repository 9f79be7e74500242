/** `holdfast inspect`. */
import { Command } from 'commander'
import { EXIT } from '../../core/failure.js'
import { jsonOption, progressOption } from './options.js'

export interface InspectArguments {
  readonly verify: boolean
  readonly log?: string
  readonly progress: boolean
  readonly json: boolean
}

export function inspect(): Command {
  return new Command('inspect')
    .description('show what is in a region, and what is wrong with it; needs no daemon and writes nothing')
    .argument('<region>', 'a region\'s file or block device, or a copy of one')
    .option('--verify', 'check the data of every record too, not only the headers', false)
    .option('--log <volume/epoch>', 'list the records of this log; a volume\'s id may be cut short, the epoch left out; "all" lists every log')
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText('after', `
While a daemon has the region open it can be looked at, but nothing is proved: what looks damaged may be a write under
way, and the exit code says ${EXIT.unsafe} then. Damage is exit code ${EXIT.damaged}: the daemon would refuse this region. A torn tail is none.

Examples:
  holdfast inspect /nvme/holdfast.region --verify -p
  holdfast inspect /nvme/holdfast.region --log 6f1f0a52/7
  holdfast inspect /nvme/holdfast.region --json | jq '.findings'`)
    .action(async (region: string, options: InspectArguments) => (await import('../inspect.js')).inspect(region, options))
}
