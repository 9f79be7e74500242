/** `holdfast blk`. */
import { Command, Option } from 'commander'
import type { BlockdevNode } from '../../backing/blockdev/node.js'
import { blockdevArgument, durationArgument, integerArgument, sizeArgument } from '../arguments.js'

export interface BlkArguments {
  readonly socketPath?: string
  readonly fd?: number
  readonly blkFile?: string
  readonly blockdev?: BlockdevNode
  readonly cache?: string
  readonly cacheSize?: number
  readonly readOnly: boolean
  readonly durability: 'flush' | 'write'
  /** Milliseconds. */
  readonly quarantine: number
  readonly order?: 'journal' | 'flush' | 'cut'
}

export function blk(): Command {
  return new Command('blk')
    .description('serve one volume in the foreground, without a configuration')
    .option('--socket-path <path>', 'listen on this unix socket')
    .option('--fd <number>', 'serve this open socket, listening or connected', integerArgument(0, 1_000_000))
    .option('--blk-file <path>', 'the raw image or block device')
    .addOption(new Option('--blockdev <json>', 'instead: anything that QEMU can open, as its -blockdev takes it').argParser(blockdevArgument).conflicts('blkFile'))
    .option('--cache <path>', 'cache region; without it writes pass straight through')
    .option('--cache-size <size>', 'size of a region that has to be created', sizeArgument)
    .option('--read-only', 'the guest may not write', false)
    .addOption(new Option('--durability <when>', 'what makes a write power-safe: the guest\'s "flush", or every "write"').choices(['flush', 'write']).default('flush'))
    .addOption(new Option('--quarantine <time>', 'how long writes of a crashed predecessor may still reach the file')
      .argParser(durationArgument).default(60_000, '60s'))
    .addOption(new Option('--order <how>', 'what the file is worth if the region is lost').choices(['journal', 'flush', 'cut']))
    .option('--print-capabilities', 'print what this program can, as JSON, and exit; other options do not count')
    .addHelpText('after', `
SIGTERM and SIGINT bring what is dirty to the file, for up to 30 s, and end; a second one ends at once. Nothing is lost
either way: what is not in the file yet is in the cache region, and the next start with the same --cache goes on.

Examples:
  holdfast blk --socket-path /run/vm1.sock --blk-file /srv/vm1.raw --cache /nvme/vm1.region --cache-size 4GiB
  holdfast blk --socket-path /run/vm2.sock --cache /nvme/vm2.region --cache-size 4GiB \\
    --blockdev '{"driver": "qcow2", "file": {"driver": "file", "filename": "/srv/vm2.qcow2"}}'
  qemu-system-x86_64 -object memory-backend-memfd,id=m0,size=4G,share=on -machine q35,memory-backend=m0 -m 4G \\
    -chardev socket,id=c0,path=/run/vm1.sock,reconnect=1 -device vhost-user-blk-pci,chardev=c0`)
    .action(async (options: BlkArguments) => (await import('../blk.js')).blk(options))
}
