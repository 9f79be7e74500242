/** `holdfast salvage`. */
import { Command } from 'commander'
import { EXIT } from '../../core/failure.js'
import { jsonOption, progressOption } from './options.js'

export interface SalvageArguments {
  readonly region: readonly string[]
  readonly backing: string
  readonly out: string
  readonly volume?: string
  readonly claim?: string
  readonly dryRun: boolean
  readonly progress: boolean
  readonly json: boolean
}

export function salvage(): Command {
  return new Command('salvage')
    .description('put a volume together in a new image from whatever regions are left; needs no daemon and changes nothing that it is given')
    .requiredOption('--region <path...>', 'regions, or copies of them, of as many hosts as possible')
    .requiredOption('--backing <image>', 'the image, or a copy that is as new')
    .requiredOption('--out <path>', 'the new image; must not exist')
    .option('--volume <name>', 'which one, where there are several: its name or its id, which may be cut short')
    .option('--claim <directory>', 'the claim directory, or the volume\'s folder in it (default: .holdfast beside the image)')
    .option('--dry-run', 'only say what would be used and what is missing', false)
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText('after', `
This is for the day when no host can take the volume over. What one region has damaged is taken from another. Where a
record is nowhere to be had, the new image ends before it, and the exit code is ${EXIT.damaged}.

Example:
  holdfast salvage --region a.region b.region --backing /mnt/ds1/db01.raw --out /srv/db01-salvaged.raw -p`)
    .action(async (options: SalvageArguments) => (await import('../salvage.js')).salvage(options))
}
