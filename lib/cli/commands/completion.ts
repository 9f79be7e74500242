/** `holdfast completion`. */
import { Argument, Command } from 'commander'

export function completion(): Command {
  const command = new Command('completion').description('print what a shell needs to complete this program\'s commands, options and volumes')
    .addArgument(new Argument('<shell>', 'which one').choices(['bash']))
    .addHelpText('after', `
The Debian package has it in place already.

Example:
  source <(holdfast completion bash)`)
  return command.action(async () => {
    const [{ bashCompletion }, { entryOf }] = await Promise.all([import('../completion.js'), import('../command-table.js')])
    process.stdout.write(bashCompletion(entryOf(command.parent!)))
  })
}
