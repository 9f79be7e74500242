/** `holdfast status`. */
import { Command } from 'commander'
import { type ControlArguments, controlOptions, jsonOption } from './options.js'

export function status(): Command {
  const command = new Command('status').description('show what the daemon on this host serves')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Examples:
  holdfast status --config /etc/holdfast/holdfast.toml
  holdfast status --json | jq '.volumes[] | {name, phase, dirtyBytes}'`)
    .action(async (options: ControlArguments) => (await import('../status.js')).status(options))
}
