/** `holdfast claims`. */
import { Command, Option } from 'commander'
import { SLOTS_MAX } from '../../claim/lease-layout.js'
import { limits } from '../../limits.js'
import { integerArgument } from '../arguments.js'
import { jsonOption } from './options.js'

export interface ClaimsFormatArguments {
  readonly hosts: readonly string[]
  readonly slots: number
  readonly volumes: number
  readonly force: boolean
  readonly json: boolean
}

export function claims(): Command {
  const top = new Command('claims').description('claims on a small shared block device instead of a directory')
  const command = (name: string, description: string): Command => {
    const made = new Command(name).description(description).argument('<path>', 'the device, or a file')
    top.addCommand(made)
    return made
  }
  command('format', 'make a lease volume')
    .addOption(new Option('--hosts <names>', 'hosts that get a slot, as [host] names them: a,b,c').makeOptionMandatory().argParser((text) => text.split(',').map((name) => name.trim())))
    .addOption(new Option('--slots <n>', 'hosts that there will ever be').argParser(integerArgument(1, SLOTS_MAX)).default(16))
    .addOption(new Option('--volumes <n>', 'volumes that there will ever be').argParser(integerArgument(1, limits.leaseVolumesMax)).default(512))
    .addOption(new Option('--force', 'overwrite whatever is there').default(false))
    .addOption(jsonOption())
    .addHelpText('after', `
Then set claims to this path in every [[volume]]. Slots and volumes cannot be changed later, hosts can be added. Claims that
are in a directory are not taken along: stop the volumes cleanly before.

Example:
  holdfast claims format /dev/mapper/san-claims --hosts hv01,hv02,hv03`)
    .action(async (path: string, options: ClaimsFormatArguments) => (await import('../claims.js')).format(path, options))
  command('add-host', 'give another host a slot; the others go on meanwhile').argument('<host>', 'its name').addOption(jsonOption())
    .action(async (path: string, host: string, { json }: { readonly json: boolean }) => (await import('../claims.js')).add(path, host, json))
  command('show', 'say which hosts have a slot').addOption(jsonOption())
    .action(async (path: string, { json }: { readonly json: boolean }) => (await import('../claims.js')).show(path, json))
  return top
}
