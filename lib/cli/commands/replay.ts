/** `holdfast replay`. */
import { Command, Option } from 'commander'
import { integerArgument, sizeArgument } from '../arguments.js'
import type { ReplayArguments } from '../replay.js'
import { jsonOption } from './options.js'

export function replay(): Command {
  return new Command('replay')
    .description('replay a recording of block I/O through a vhost-user socket, and check what is read')
    .argument('<recording>', 'a holdfast-trace, a fio iolog (version 2 or 3) or blkparse text (docs/trace-format.md)')
    .option('--socket-path <path>', 'the volume\'s socket; its content is overwritten')
    .option('--convert <file>', 'write the recording as a holdfast-trace instead')
    .option('--fit <size>', 'bring operations beyond this size down', sizeArgument)
    .addOption(new Option('--depth <n>', 'operations at a time').argParser(integerArgument(1, 1024)).default(32))
    .addOption(new Option('--queues <n>', 'queues used').argParser(integerArgument(1, 64)).default(1))
    .option('--real-time', 'at the times of the recording instead of as fast as possible', false)
    .option('--fresh', 'the disk is all zeros: check sectors that the recording never wrote as well', false)
    .addOption(jsonOption())
    .addHelpText('after', `
Example:
  holdfast replay fixtures/traces/database.trace --socket-path /run/vm1.sock --depth 8`)
    .action(async (recording: string, options: ReplayArguments) => (await import('../replay.js')).replay(recording, options))
}
