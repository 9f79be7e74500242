/** The command line. Every command ends with a documented exit code; errors are one sentence on stderr. */
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { parseDuration, parseSize } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import { VERSION } from '../daemon/version.js'

const sizeArgument = (text: string): number => {
  const bytes = parseSize(text)
  if (bytes === null) throw new InvalidArgumentError('a size is a number with a unit, like 512MiB or 8GiB')
  return bytes
}

const durationArgument = (text: string): number => {
  const ms = parseDuration(text)
  if (ms === null) throw new InvalidArgumentError('a duration is a number with a unit, like 500ms or 60s')
  return ms
}

const integerArgument = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a whole number is needed')
  return Number(text)
}

const CONTROL = '/run/holdfast/control.sock'

function program(): Command {
  const top = new Command('holdfast')
    .description('Write accelerator for QEMU/KVM: guest writes commit on local NVMe and on other hosts, shared storage gets them later.')
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('(--help shows what is possible)')
    .addHelpText('after', `
Exit codes: 0 done, 64 usage, 65 data damaged, 69 unreachable, 70 internal error, 75 not safe now and nothing changed, 77 denied, 78 configuration`)

  top.command('blk')
    .description('serve one volume in the foreground, without a configuration')
    .option('--socket-path <path>', 'listen on this unix socket')
    .option('--fd <number>', 'serve this open socket, listening or connected', integerArgument)
    .option('--blk-file <path>', 'the raw image or block device')
    .option('--cache <path>', 'cache region; without it writes pass straight through')
    .option('--cache-size <size>', 'size of a region that has to be created', sizeArgument)
    .option('--read-only', 'the guest may not write', false)
    .option('--durability <when>', 'acknowledged writes are power-safe at the guest\'s "flush", or at every "write"', 'flush')
    .option('--quarantine <time>', 'how long writes of a crashed predecessor may still reach the file', durationArgument, 60_000)
    .option('--print-capabilities', 'print what this program can, as JSON, and exit')
    .addHelpText('after', `
Example:
  holdfast blk --socket-path /run/vm1.sock --blk-file /srv/vm1.raw --cache /nvme/vm1.region --cache-size 4GiB
  qemu-system-x86_64 ... -chardev socket,id=c0,path=/run/vm1.sock,reconnect=1 -device vhost-user-blk-pci,chardev=c0`)
    .action(async (options: Record<string, unknown>) => (await import('./blk.js')).blk(options))

  top.command('serve')
    .description('run this host: its region, its peers, its volumes')
    .requiredOption('--config <file>', 'configuration (docs/configuration.md)')
    .action(async (options: { config: string }) => (await import('./serve.js')).serve(options.config))

  top.command('status')
    .description('show what the daemon on this host serves')
    .option('--control <socket>', 'control socket', CONTROL)
    .option('--json', 'for scripts', false)
    .action(async (options: { control: string; json: boolean }) => (await import('./status.js')).status(options.control, options.json))

  const volume = top.command('volume').description('act on one volume')
  volume.command('flush <name>')
    .description('bring everything acknowledged so far to the backing, and wait for it')
    .option('--control <socket>', 'control socket', CONTROL)
    .option('-p, --progress', 'show progress', false)
    .option('--json', 'for scripts', false)
    .action(async (name: string, options: { control: string; json: boolean; progress: boolean }) => (await import('./status.js')).flush(name, options))

  top.command('replay <trace>')
    .description('replay recorded I/O through a vhost-user-blk socket, stamping and checking every sector')
    .requiredOption('--socket-path <path>', 'the back end\'s socket')
    .option('--depth <n>', 'requests in flight', integerArgument, 32)
    .option('--queues <n>', 'virtqueues', integerArgument, 1)
    .option('--original-speed', 'keep the recorded times', false)
    .option('--json', 'for scripts', false)
    .action(async (trace: string, options: { socketPath: string; depth: number; queues: number; originalSpeed: boolean; json: boolean }) =>
      (await import('./replay.js')).replay(trace, options))

  const pki = top.command('pki').description('the cluster\'s own certificates')
  pki.command('init <folder>').description('make a certificate authority')
    .action(async (folder: string) => (await import('../pki/pki.js')).initCluster(folder))
  pki.command('issue <folder> <host> [address...]').description('issue a host\'s certificate and key')
    .action(async (folder: string, host: string, addresses: string[]) => {
      const files = await (await import('../pki/pki.js')).issueHost(folder, host, addresses)
      process.stdout.write(`certificate = "${files.certificate}"\nkey = "${files.key}"\nca = "${files.ca}"\n`)
    })
  for (const command of [top, ...top.commands, ...volume.commands, ...pki.commands]) command.exitOverride()
  return top
}

async function main(): Promise<void> {
  try {
    await program().parseAsync(process.argv)
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
    else if (error instanceof Failure) {
      for (const line of error.message.split('\n')) process.stderr.write(`holdfast: ${line}\n`)
      process.exitCode = error.exitCode
    } else {
      process.stderr.write(`holdfast: internal error: ${(error as Error).stack ?? String(error)}\n`)
      process.exitCode = EXIT.internal
    }
    // Whatever a failed command left open must not keep it alive.
    process.exit()
  }
}

await main()
