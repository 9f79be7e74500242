/** `holdfast doctor`. */
import { Command } from 'commander'
import { EXIT } from '../../core/failure.js'
import { jsonOption } from './options.js'

export interface DoctorArguments { readonly config: string; readonly json: boolean }

export function doctor(): Command {
  return new Command('doctor')
    .description('check this host: kernel, region, storage, claims, certificates, peers; changes nothing')
    .option('--config <file>', 'configuration', '/etc/holdfast/holdfast.toml')
    .addOption(jsonOption())
    .addHelpText('after', `
Each finding that is not ok says what to do. Exit code ${EXIT.config} when one fails. It can run before the first start, and beside
a running daemon. In the region's folder, the journal's and that of the claims it makes files of its own, and removes them.

Example:
  holdfast doctor --config /etc/holdfast/holdfast.toml`)
    .action(async (options: DoctorArguments) => (await import('../doctor.js')).doctor(options))
}
