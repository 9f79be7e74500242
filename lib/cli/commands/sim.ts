/** `holdfast sim`. */
import { Command } from 'commander'
import { EXIT } from '../../core/failure.js'
import { integerArgument } from '../arguments.js'

export interface SimArguments { readonly seed?: number; readonly seeds?: number; readonly from?: number; readonly hosts?: number; readonly steps?: number; readonly trace: boolean }

const MOST = 2 ** 31

export function sim(): Command {
  return new Command('sim')
    .description('clusters in virtual time under faults, checked at every step; from a source tree')
    .option('--seed <number>', 'this one, and the hash of all that happened', integerArgument(0, MOST))
    .option('--seeds <count>', 'so many of them (default: 200)', integerArgument(1, MOST))
    .option('--from <number>', 'beginning with this one (default: 1)', integerArgument(0, MOST))
    .option('--hosts <count>', 'so many hosts, whatever the seed says', integerArgument(2, 4))
    .option('--steps <ms>', 'so many milliseconds of faults, whatever the seed says', integerArgument(1, 600_000))
    .option('--trace', 'say what happens', false)
    .addHelpText('after', `
Exit code ${EXIT.internal} when something that was promised did not hold; what it was, and how to see it again, is said. docs/simulation.md
tells what is simulated. The simulator is built with the tests ("make"), and is not in the package.

Examples:
  holdfast sim --seeds 2000
  holdfast sim --seed 1042 --trace`)
    .action(async (options: SimArguments) => (await import('../sim.js')).sim(options))
}
