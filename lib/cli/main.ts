/** The command line's entry. Every command ends with a documented exit code; errors are one sentence on stderr. */
import { CommanderError } from 'commander'
import { EXIT, Failure } from '../core/failure.js'
import { CAPABILITIES } from './capabilities.js'
import { program } from './program.js'

/** Management asks a back end what it can with whatever other options it would start it with: none of them counts. */
const asksForCapabilities = (args: readonly string[]): boolean => args[0] === 'blk' && args.includes('--print-capabilities')

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  // `holdfast status | head`: nobody reads the rest, which is no error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => { if (error.code === 'EPIPE') process.exit(EXIT.done) })
  try {
    if (asksForCapabilities(args)) process.stdout.write(`${JSON.stringify(CAPABILITIES, null, 2)}\n`)
    else await program().parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error)
    // Whatever a failed command left open must not keep it alive.
    process.exit()
  }
}

/** Says it, and returns the exit code. Commander has printed its own already. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  if (error instanceof Failure) {
    for (const line of error.message.split('\n')) process.stderr.write(`holdfast: ${line}\n`)
    return error.exitCode
  }
  process.stderr.write(`holdfast: internal error: ${(error as Error).stack ?? String(error)}\n`)
  return EXIT.internal
}

await main()
