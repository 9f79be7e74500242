/** `holdfast top` on the command line. */
import { Command } from 'commander'
import { durationArgument, integerArgument } from '../arguments.js'
import type { TopArguments } from '../top.js'
import { controlOptions, jsonOption } from './options.js'

export function top(): Command {
  const command = new Command('top').description('what the volumes of this host do now: requests, latencies, dirty data, second by second')
    .option('-n, --iterations <count>', 'end after so many', integerArgument(1, 1_000_000))
    .option('--every <time>', 'how long one lasts', durationArgument, 1000)
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
At a terminal the screen is redrawn until q is pressed; elsewhere each iteration is a table, or with --json a line. Latencies
are those of the last iteration: 50 of 100 and 99 of 100 were not slower. GUEST is what the guest saw, from its ring to the answer.

Examples:
  holdfast top --config /etc/holdfast/holdfast.toml
  holdfast top -n 1 --every 10s
  holdfast top --json | jq '.volumes[] | {name, p99: .latencies["guest write"].p99}'`)
    .action(async (options: TopArguments) => (await import('../top.js')).top(options))
}
