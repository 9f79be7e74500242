/** `holdfast volume`. */
import { Argument, Command, Option } from 'commander'
import { EXIT } from '../../core/failure.js'
import type { CacheAction } from '../../ports/control.js'
import { durationArgument, integerArgument } from '../arguments.js'
import { type ControlArguments, type ProgressArguments, controlOptions, jsonOption, progressOption } from './options.js'

export interface AddArguments extends ControlArguments { readonly backing?: string; readonly socket?: string; readonly set?: readonly string[] }
export interface FlushArguments extends ProgressArguments { readonly to?: number }
export interface DiscardArguments extends ControlArguments { readonly acceptDataLoss: boolean }
export interface TakeoverArguments extends ControlArguments { readonly force: boolean; readonly fenced?: string; readonly acceptDataLoss?: string }
/** `for`: milliseconds. */
export interface FreezeArguments extends ProgressArguments { readonly domain?: string; readonly for: number }

export function volume(): Command {
  const group = new Command('volume').description('act on one volume')
  for (const command of [list(), show(), add(), remove(), flush(), freeze(), thaw(), drain(), policy(), cache(), resize(), verify(), takeover(), discardDirty()]) group.addCommand(command)
  return group
}

function volumeCommand(name: string, description: string, options: readonly Option[]): Command {
  const command = new Command(name).description(description)
  for (const option of [...options, ...controlOptions(), jsonOption()]) command.addOption(option)
  return command
}

function list(): Command {
  return volumeCommand('list', 'show the volumes of this host, a line for each', [])
    .addHelpText('after', `
Example:
  holdfast volume list --json | jq -r '.[] | select(.dirtyBytes > 0) | .name'`)
    .action(async (options: ControlArguments) => (await import('../volumes.js')).list(options))
}

function show(): Command {
  return volumeCommand('show', 'show everything about one volume', [])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume show db01`)
    .action(async (name: string, options: ControlArguments) => (await import('../volumes.js')).show(name, options))
}

function add(): Command {
  return volumeCommand('add', 'serve another volume, from now on and after every start of the daemon', [
    new Option('--backing <path>', 'the raw image or block device'),
    new Option('--socket <path>', 'where QEMU connects (default: /run/holdfast/NAME.sock)'),
    new Option('--set <key=value>', 'another key of [[volume]], its value as in the configuration; may be given again').argParser(collected),
  ])
    .argument('<name>', 'the same on every host of the volume')
    .addHelpText('after', `
The keys are those of [[volume]] in docs/configuration.md; so are what is refused and the defaults, copies = 1 among them. The
volume is kept in a file beside the region, not in the configuration. Volumes of the configuration come and go with its file:
change it, and reload the daemon (SIGHUP, or systemctl reload holdfast).

Examples:
  holdfast volume add db01 --backing /mnt/ds1/db01.raw
  holdfast volume add db02 --backing /mnt/ds1/db02.raw --socket /run/vm/db02.sock --set copies=0 --set 'domain="vm17"'
  holdfast volume add db03 --set 'backing={ blockdev = { driver = "rbd", pool = "vms", image = "db03" } }' \\
    --set 'claims="/mnt/shared/holdfast"' --set 'journal="/mnt/shared/holdfast"'`)
    .action(async (name: string, options: AddArguments) => (await import('../volumes.js')).add(name, options))
}

const collected = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

function remove(): Command {
  return volumeCommand('remove', 'bring everything to the backing, and serve a volume no more that was added by "volume add"', [progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Refused with exit code ${EXIT.unsafe} while a guest is connected, or when not everything can be brought to the backing. The image has
its own name again afterwards, where this host was its owner.

Example:
  holdfast volume remove db01 -p`)
    .action(async (name: string, options: ProgressArguments) => (await import('../volumes.js')).remove(name, options))
}

function flush(): Command {
  const to = new Option('--to <write>', 'only up to this write, as "status" counts them').argParser(integerArgument(0, Number.MAX_SAFE_INTEGER))
  return volumeCommand('flush', 'bring everything acknowledged so far to the backing, and wait for it', [to, progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume flush db01 -p`)
    .action(async (name: string, options: FlushArguments) => (await import('../status.js')).flush(name, options))
}

const domainOption = (): Option => new Option('--domain <name>', 'all volumes with this domain, at one instant')

function freeze(): Command {
  const lease = new Option('--for <time>', 'let go by itself after this long').argParser(durationArgument).default(600_000, '10m')
  return volumeCommand('freeze', 'bring the backing to the disk as of now and keep it there, while the guest goes on writing', [domainOption(), lease, progressOption()])
    .argument('[name]', 'volume')
    .addHelpText('after', `
For a snapshot or backup of the shared storage. A freeze that could not last (its time ran out, the region was full) is
an error of "thaw": what was read meanwhile may then be of two points in time.

Example:
  holdfast volume freeze --domain vm17 --for 2m -p && snapshot-the-storage; holdfast volume thaw --domain vm17`)
    .action(async (name: string | undefined, options: FreezeArguments) => (await import('../status.js')).freeze(name, options))
}

function thaw(): Command {
  return volumeCommand('thaw', 'let destaging go on after a freeze; fails when the freeze did not last until now', [domainOption()])
    .argument('[name]', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume thaw --domain vm17 || echo 'the snapshot is worth nothing'`)
    .action(async (name: string | undefined, options: FreezeArguments) => (await import('../status.js')).thaw(name, options))
}

function drain(): Command {
  return volumeCommand('drain', 'switch to write-through and wait until nothing is dirty; "volume policy NAME write-back" ends it', [progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume drain db01 -p`)
    .action(async (name: string, options: ProgressArguments) => (await import('../status.js')).policy(name, 'write-through', options))
}

function policy(): Command {
  return volumeCommand('policy', 'choose when writes are acknowledged; it outlives the daemon, until the configuration names another policy or this names the one there', [progressOption()])
    .argument('<name>', 'volume')
    .addArgument(new Argument('<mode>', 'when a write is acknowledged').choices(['write-back', 'write-through']))
    .addHelpText('after', `
Example:
  holdfast volume policy db01 write-back`)
    .action(async (name: string, mode: 'write-back' | 'write-through', options: ProgressArguments) => (await import('../status.js')).policy(name, mode, options))
}

function cache(): Command {
  const command = new Command('cache')
    .description('clean data in the region: put there what reads miss (fill, as at the start), leave it as it is (pause), or forget it (drop)')
    .argument('<name>', 'volume')
    .addArgument(new Argument('<action>', 'what to do').choices(['fill', 'pause', 'drop']))
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Example, around a backup that reads the whole disk once in no order:
  holdfast volume cache db01 pause; backup; holdfast volume cache db01 fill`)
    .action(async (name: string, action: CacheAction, options: ControlArguments) => (await import('../status.js')).cache(name, action, options))
}

function resize(): Command {
  const command = new Command('resize')
    .description('show the guest the size that the backing has now, after it was made larger; the guest keeps running')
    .argument('<name>', 'volume')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Example:
  truncate -s 200G /mnt/ds1/db01.raw.holdfast && holdfast volume resize db01`)
    .action(async (name: string, options: ControlArguments) => (await import('../status.js')).resize(name, options))
}

function verify(): Command {
  return volumeCommand('verify', 'compare the copies of what is dirty: this host\'s and those of its replicas', [progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
What is appended after the start is not compared, what goes to the backing meanwhile neither. Exit code ${EXIT.damaged}: a copy is
damaged or another one; ${EXIT.unreachable}: a host could not be asked.

Example:
  holdfast volume verify db01 -p`)
    .action(async (name: string, options: ProgressArguments) => (await import('../scrub.js')).verify(name, options))
}

function takeover(): Command {
  return volumeCommand('takeover', 'make this host the owner, where that takes no disk away from a running guest', [
    new Option('--force', 'do not wait until the old owner counts as dead (timing.dead_after); needs --fenced').default(false),
    new Option('--fenced <host>', 'the old owner, which you have powered off'),
    new Option('--accept-data-loss <reason>', 'no copy is left: go on with what is on the backing; the claim keeps the reason for ever'),
  ])
    .argument('<name>', 'volume')
    .addHelpText('after', `
An owner that answers hands the volume over, unless a guest runs on it there. One that does not is waited for until its
heartbeat has stood still for timing.dead_after (in write-through for timing.quarantine more); a copy is then sealed, so
nothing that was acknowledged is lost.

--force --fenced HOST: you vouch that HOST is off. If it is not, its guest may still read old data, and two guests run on
one disk. A HOST that answers, or whose heartbeat moves, is refused. What it had sent to the storage may still land, so
the quarantine is kept.

--accept-data-loss REASON: only when no host that has a copy can be reached. All of them must stay off until they can
reach the claim: what they acknowledge meanwhile is lost as well. What was lost is printed, and recorded in the claim.

Examples:
  holdfast volume takeover db01
  holdfast volume takeover db01 --force --fenced hv07
  holdfast volume takeover db01 --accept-data-loss "rack 3 burnt down, ticket 4711"`)
    .action(async (name: string, options: TakeoverArguments) => (await import('../takeover.js')).takeover(name, options))
}

function discardDirty(): Command {
  const accept = new Option('--accept-data-loss', 'what is only in the logs is lost for ever').default(false)
  return volumeCommand('discard-dirty', 'go on with an image that was restored or changed under dirty data, without that data', [accept])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Only for a volume that "status" shows as FAILED because its image is not the one that its dirty data belongs to. To lose
nothing, put the right image back instead and start the daemon again. The loss is recorded in the claim.

Example:
  holdfast volume discard-dirty db01 --accept-data-loss`)
    .action(async (name: string, options: DiscardArguments) => (await import('../status.js')).discardDirty(name, options))
}
