/** Every command with its options, arguments and examples: the one table that help is made from. */
import { Argument, Command, Option } from 'commander'
import { EXIT } from '../core/failure.js'
import { SLOTS_MAX } from '../claim/lease-layout.js'
import { limits } from '../limits.js'
import { VERSION } from '../daemon/version.js'
import type { CacheAction } from '../ports/control.js'
import type { ReplayArguments } from './replay.js'
import type { BlockdevNode } from '../backing/blockdev/node.js'
import { blockdevArgument, durationArgument, integerArgument, sizeArgument } from './arguments.js'
import { libvirt } from './commands/libvirt.js'
import { topCommand } from './top-command.js'

const EXIT_CODES = `
Exit codes:
  ${EXIT.done} done   ${EXIT.usage} usage   ${EXIT.damaged} data damaged   ${EXIT.unreachable} unreachable   ${EXIT.internal} internal error
  ${EXIT.unsafe} not safe now, nothing changed   ${EXIT.denied} denied   ${EXIT.config} configuration`

/** Which daemon a command talks to. */
const controlOptions = (): Option[] => [
  new Option('--control <socket>', 'the daemon\'s control socket (default: /run/holdfast/control.sock)').conflicts('config'),
  new Option('--config <file>', 'the daemon\'s configuration, which names its control socket'),
]
const jsonOption = (): Option => new Option('--json', 'for scripts').default(false)

export function program(): Command {
  const top = new Command('holdfast')
    .description('Write accelerator for QEMU/KVM: guest writes commit on local NVMe and on other hosts, shared storage gets them later.')
    .version(VERSION)
    .addHelpText('after', EXIT_CODES)
  const pki = new Command('pki').description('the cluster\'s own certificates').addCommand(pkiInit()).addCommand(pkiIssue())
  const volume = new Command('volume').description('act on one volume').addCommand(volumeFlush()).addCommand(volumeFreeze())
    .addCommand(volumeThaw()).addCommand(volumeDrain()).addCommand(volumePolicy()).addCommand(volumeCache()).addCommand(volumeResize())
    .addCommand(volumeVerify()).addCommand(volumeTakeover()).addCommand(volumeDiscardDirty())
  const host = new Command('host').description('act on this host').addCommand(hostOkToStop()).addCommand(hostMaintenance()).addCommand(hostCopies())
  const peer = new Command('peer').description('which hosts belong to the cluster').addCommand(peerAdd()).addCommand(peerRevoke()).addCommand(peerList())
  for (const command of [blk(), serve(), status(), topCommand([...controlOptions(), jsonOption()]), doctor(), volume, host, peer, scrub(), inspect(), salvage(), journal(), claims(), replay(), libvirt(), pki]) top.addCommand(command)
  settle(top)
  return top
}

/** The same manners for every command: errors are thrown, begin with the program's name and point to the help. */
function settle(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help shows what is possible)')
  command.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'holdfast: ')) })
  for (const sub of command.commands) settle(sub)
}

function blk(): Command {
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
    .action(async (options: BlkArguments) => (await import('./blk.js')).blk(options))
}

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

function serve(): Command {
  return new Command('serve')
    .description('run this host: its region, its peers, its volumes')
    .requiredOption('--config <file>', 'configuration (docs/configuration.md)')
    .addHelpText('after', `
Logs go to stderr: short lines at a terminal or with LOG_FORMAT=text, JSON elsewhere or with LOG_FORMAT=json.
SIGTERM and SIGINT bring what is dirty to the shared storage, hand the volumes back and end; a second one ends at once.

Example:
  holdfast serve --config /etc/holdfast/holdfast.toml`)
    .action(async (options: { readonly config: string }) => (await import('./serve.js')).serve(options.config))
}

export interface ControlArguments { readonly control?: string; readonly config?: string; readonly json: boolean }

function status(): Command {
  const command = new Command('status').description('show what the daemon on this host serves')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Examples:
  holdfast status --config /etc/holdfast/holdfast.toml
  holdfast status --json | jq '.volumes[] | {name, phase, dirtyBytes}'`)
    .action(async (options: ControlArguments) => (await import('./status.js')).status(options))
}

export interface ProgressArguments extends ControlArguments { readonly progress: boolean }
export interface FlushArguments extends ProgressArguments { readonly to?: number }
/** `for`: milliseconds. */
export interface DiscardArguments extends ControlArguments { readonly acceptDataLoss: boolean }
export interface TakeoverArguments extends ControlArguments { readonly force: boolean; readonly fenced?: string; readonly acceptDataLoss?: string }
export interface FreezeArguments extends ProgressArguments { readonly domain?: string; readonly for: number }

const progressOption = (): Option => new Option('-p, --progress', 'show progress').default(false)

function volumeCommand(name: string, description: string, options: readonly Option[]): Command {
  const command = new Command(name).description(description)
  for (const option of [...options, ...controlOptions(), jsonOption()]) command.addOption(option)
  return command
}

function volumeFlush(): Command {
  const to = new Option('--to <write>', 'only up to this write, as "status" counts them').argParser(integerArgument(0, Number.MAX_SAFE_INTEGER))
  return volumeCommand('flush', 'bring everything acknowledged so far to the backing, and wait for it', [to, progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume flush db01 -p`)
    .action(async (name: string, options: FlushArguments) => (await import('./status.js')).flush(name, options))
}

const domainOption = (): Option => new Option('--domain <name>', 'all volumes with this domain, at one instant')

function volumeFreeze(): Command {
  const lease = new Option('--for <time>', 'let go by itself after this long').argParser(durationArgument).default(600_000, '10m')
  return volumeCommand('freeze', 'bring the backing to the disk as of now and keep it there, while the guest goes on writing', [domainOption(), lease, progressOption()])
    .argument('[name]', 'volume')
    .addHelpText('after', `
For a snapshot or backup of the shared storage. A freeze that could not last (its time ran out, the region was full) is
an error of "thaw": what was read meanwhile may then be of two points in time.

Example:
  holdfast volume freeze --domain vm17 --for 2m -p && snapshot-the-storage; holdfast volume thaw --domain vm17`)
    .action(async (name: string | undefined, options: FreezeArguments) => (await import('./status.js')).freeze(name, options))
}

function volumeThaw(): Command {
  return volumeCommand('thaw', 'let destaging go on after a freeze; fails when the freeze did not last until now', [domainOption()])
    .argument('[name]', 'volume')
    .action(async (name: string | undefined, options: FreezeArguments) => (await import('./status.js')).thaw(name, options))
}

function volumeDrain(): Command {
  return volumeCommand('drain', 'switch to write-through and wait until nothing is dirty; "volume policy NAME write-back" ends it', [progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Example:
  holdfast volume drain db01 -p`)
    .action(async (name: string, options: ProgressArguments) => (await import('./status.js')).policy(name, 'write-through', options))
}

function volumePolicy(): Command {
  return volumeCommand('policy', 'choose when writes are acknowledged, until the daemon is started again', [progressOption()])
    .argument('<name>', 'volume')
    .addArgument(new Argument('<mode>', 'when a write is acknowledged').choices(['write-back', 'write-through']))
    .action(async (name: string, mode: 'write-back' | 'write-through', options: ProgressArguments) => (await import('./status.js')).policy(name, mode, options))
}

function volumeCache(): Command {
  const command = new Command('cache')
    .description('clean data in the region: put there what reads miss (fill, as at the start), leave it as it is (pause), or forget it (drop)')
    .argument('<name>', 'volume')
    .addArgument(new Argument('<action>', 'what to do').choices(['fill', 'pause', 'drop']))
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Example, around a backup that reads the whole disk once in no order:
  holdfast volume cache db01 pause; backup; holdfast volume cache db01 fill`)
    .action(async (name: string, action: CacheAction, options: ControlArguments) => (await import('./status.js')).cache(name, action, options))
}

function volumeResize(): Command {
  const command = new Command('resize')
    .description('show the guest the size that the backing has now, after it was made larger; the guest keeps running')
    .argument('<name>', 'volume')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Example:
  truncate -s 200G /mnt/ds1/db01.raw.holdfast && holdfast volume resize db01`)
    .action(async (name: string, options: ControlArguments) => (await import('./status.js')).resize(name, options))
}

function volumeDiscardDirty(): Command {
  const accept = new Option('--accept-data-loss', 'what is only in the logs is lost for ever').default(false)
  return volumeCommand('discard-dirty', 'go on with an image that was restored or changed under dirty data, without that data', [accept])
    .argument('<name>', 'volume')
    .addHelpText('after', `
Only for a volume that "status" shows as FAILED because its image is not the one that its dirty data belongs to. To lose
nothing, put the right image back instead and start the daemon again. The loss is recorded in the claim.

Example:
  holdfast volume discard-dirty db01 --accept-data-loss`)
    .action(async (name: string, options: DiscardArguments) => (await import('./status.js')).discardDirty(name, options))
}

function hostOkToStop(): Command {
  const command = new Command('ok-to-stop').description('may this host be stopped now? One line for each volume that it is needed for')
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Exit code 0: every acknowledged write of every volume is on its backing, or has the copies that its policy asks for on other
hosts, and no guest is served here. ${EXIT.unsafe}: not now. ${EXIT.unreachable}: no daemon answers, so nothing is known.

Example:
  holdfast host ok-to-stop && systemctl reboot`)
    .action(async (options: ControlArguments) => (await import('./host.js')).okToStop(options))
}

/** `store`: without a daemon. `as`: whose slot there is used, where it is a lease volume. */
export interface PeerArguments extends ControlArguments { readonly store?: string; readonly as?: string }
export interface PeerAddArguments extends PeerArguments { readonly faultDomain?: string }
export interface PeerRevokeArguments extends PeerArguments { readonly force: boolean }

/** `writes`: on a lease volume that is done in a slot. */
function peerCommand(name: string, description: string, writes: boolean): Command {
  const command = new Command(name).description(description)
  for (const option of controlOptions()) command.addOption(option)
  command.addOption(new Option('--store <path>', 'work on cluster.store itself, where no daemon runs').conflicts(['control', 'config']))
  if (writes) command.addOption(new Option('--as <host>', 'with --store: whose slot is used, where it is a lease volume'))
  return command.addOption(jsonOption())
}

function peerAdd(): Command {
  return peerCommand('add', 'let a host into the cluster, let one back in that was revoked, or note where one has moved to', true)
    .argument('<name>', 'its host id, as in [host] name')
    .argument('<address>', 'where the others dial it: "host:port" or "[ipv6]:port"')
    .addOption(new Option('--fault-domain <name>', 'what it shares with others that fail together'))
    .addHelpText('after', `
Every daemon with the same cluster.store dials it and lets it in within ${limits.membersPollMs / 1000} s, without a restart. The host itself needs a
certificate, and cluster.store in its configuration. The first one who adds a host also notes itself and its [[peer]]s.

Examples:
  holdfast peer add hv10 10.0.0.10:7400
  holdfast peer add hv07 10.0.0.7:7400 --store /mnt/shared/holdfast   # before any daemon runs`)
    .action(async (name: string, address: string, options: PeerAddArguments) => (await import('./peer.js')).add(name, address, options))
}

function peerRevoke(): Command {
  return peerCommand('revoke', 'cut a host off for good, whatever certificate it has', true)
    .argument('<name>', 'its host id')
    .addOption(new Option('--force', 'also when it may have the only other copy of something').default(false))
    .addHelpText('after', `
Connections with it end within ${limits.membersPollMs / 1000} s, and are refused from then on; its copies are made elsewhere by a change of the claim.
Refused with exit code ${EXIT.unsafe} while it has the only other copy of what is dirty here, or owns a volume that is configured here.
What the daemon here cannot know is printed: owners of other volumes are on other hosts. "holdfast host maintenance on" on
the host itself moves everything away before. Its name stays in the record; "peer add" takes it back.

Example:
  holdfast peer revoke hv08`)
    .action(async (name: string, options: PeerRevokeArguments) => (await import('./peer.js')).revoke(name, options))
}

function peerList(): Command {
  return peerCommand('list', 'show which hosts belong to the cluster, and which were revoked', false)
    .addHelpText('after', `
Example:
  holdfast peer list --json | jq '.hosts[] | select(.revoked) | .name'`)
    .action(async (options: PeerArguments) => (await import('./peer.js')).list(options))
}

/** `timeout`: milliseconds. */
export interface MaintenanceArguments extends ProgressArguments { readonly timeout: number }

function hostMaintenance(): Command {
  const command = new Command('maintenance').description('make this host one that may be switched off (on), or a candidate for copies again (off)')
    .addArgument(new Argument('<state>', 'what it is to be').choices(['on', 'off']))
    .addOption(new Option('--timeout <time>', 'give up waiting after this long').argParser(durationArgument).default(limits.maintenanceTimeoutMs, '10m'))
  for (const option of [progressOption(), ...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
on: other hosts move their copies from here to other hosts; where there is none, the volume goes on in write-through. What is
dirty here is brought to the storage. Exit code 0 only when it is safe to switch this host off. Guests that run here are not
touched: migrate them, then ask "holdfast host ok-to-stop". Whatever the answer, the host stays in maintenance, over restarts
of the daemon as well, until it is switched off.

Examples:
  holdfast host maintenance on -p && systemctl reboot
  holdfast host maintenance off`)
    .action(async (state: 'on' | 'off', options: MaintenanceArguments) => (await import('./host.js')).maintenance(state, options))
}

/** `for`: milliseconds. */
export interface CopiesArguments extends ControlArguments { readonly for?: number }

function hostCopies(): Command {
  const command = new Command('copies').description('for a limited time, be content with fewer copies of the volumes that this host serves; "policy" ends it')
    .addArgument(new Argument('<least>', 'copies besides this host that will do').choices([...Array.from({ length: limits.copiesMax }, (_, i) => String(i)), 'policy']))
    .addOption(new Option('--for <time>', 'then the policy counts again by itself').argParser(durationArgument))
  for (const option of [...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
For two hosts of which one is away for maintenance: without this the volumes of the other go on in write-through. With 0 an
acknowledged write is on this host alone until it is on the storage: if this host is lost then, that write is lost. "status"
shows it with the time left. Copies are made as soon as, and as long as, there is a host for them. A daemon that is started
again knows nothing of it.

Example:
  holdfast host copies 0 --for 2h          # on the host that stays`)
    .action(async (least: string, options: CopiesArguments) => (await import('./host.js')).copies(least, options))
}

function volumeTakeover(): Command {
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
    .action(async (name: string, options: TakeoverArguments) => (await import('./takeover.js')).takeover(name, options))
}

function volumeVerify(): Command {
  return volumeCommand('verify', 'compare the copies of what is dirty: this host\'s and those of its replicas', [progressOption()])
    .argument('<name>', 'volume')
    .addHelpText('after', `
What is appended after the start is not compared, what goes to the backing meanwhile neither. Exit code ${EXIT.damaged}: a copy is
damaged or another one; ${EXIT.unreachable}: a host could not be asked.

Example:
  holdfast volume verify db01 -p`)
    .action(async (name: string, options: ProgressArguments) => (await import('./scrub.js')).verify(name, options))
}

/** `rate`: MiB a second. */
export interface ScrubArguments extends ProgressArguments { readonly volume?: string; readonly rate: number }

function scrub(): Command {
  const command = new Command('scrub').description('read back and check every record that the daemon here holds, and what its peers hold for its volumes')
    .option('--volume <name>', 'only this one')
    .addOption(new Option('--rate <mib/s>', 'read at most so many MiB a second').argParser(integerArgument(1, 100_000)).default(limits.scrubBytesPerSecond / 2 ** 20))
  for (const option of [progressOption(), ...controlOptions(), jsonOption()]) command.addOption(option)
  return command.addHelpText('after', `
Guests go on. Damage is exit code ${EXIT.damaged}: each record with its place, and what to do. A log of a volume that is served here
is then read from its copies; without one, destaging and new writes stop. To have it done regularly: region.scrub_every.

Examples:
  holdfast scrub -p
  holdfast scrub --volume db01 --rate 500 --json | jq '.logs[] | select(.damage != [])'`)
    .action(async (options: ScrubArguments) => (await import('./scrub.js')).scrub(options))
}

export interface DoctorArguments { readonly config: string; readonly json: boolean }

function doctor(): Command {
  return new Command('doctor')
    .description('check this host: kernel, region, storage, claims, certificates, peers; changes nothing')
    .option('--config <file>', 'configuration', '/etc/holdfast/holdfast.toml')
    .addOption(jsonOption())
    .addHelpText('after', `
Each finding that is not ok says what to do. Exit code ${EXIT.config} when one fails. It can run before the first start, and beside
a running daemon. In the region's folder, the journal's and that of the claims it makes files of its own, and removes them.

Example:
  holdfast doctor --config /etc/holdfast/holdfast.toml`)
    .action(async (options: DoctorArguments) => (await import('./doctor.js')).doctor(options))
}

/** `journal`: path of the journal's slots without their ending, where they are not beside the image. */
export interface JournalArguments { readonly journal?: string; readonly json: boolean; readonly progress: boolean }

function journal(): Command {
  const top = new Command('journal').description('the journal of an image that nobody serves and whose logs are all lost')
  const command = (name: string, description: string, images: string, options: readonly Option[]): Command => {
    const made = new Command(name).description(description).argument(images, 'the raw image')
      .option('--journal <path>', 'the journal\'s files without ".holdfast-journal-0", where they are not beside the image')
    for (const option of options) made.addOption(option)
    top.addCommand(made)
    return made
  }
  command('show', 'say what is in it', '<image>', [jsonOption()])
    .action(async (image: string, given: JournalArguments) => { (await import('./journal.js')).show(image, given) })
  command('apply', 'bring the cut in it to the image, which is then a state that the guest\'s disk once had', '<images...>', [progressOption()])
    .addHelpText('after', `
All disks of a VM at once (volumes with the same domain) are brought to one instant, or refused.

Examples:
  holdfast journal apply /san/db01.raw
  holdfast journal apply /san/vm17-root.raw /san/vm17-data.raw`)
    .action(async (images: string[], given: JournalArguments) => { await (await import('./journal.js')).apply(images, given) })
  command('discard', 'delete it, because the image was replaced since', '<image>', [])
    .action(async (image: string, given: JournalArguments) => { await (await import('./journal.js')).discard(image, given) })
  return top
}

export interface ClaimsFormatArguments {
  readonly hosts: readonly string[]
  readonly slots: number
  readonly volumes: number
  readonly force: boolean
  readonly json: boolean
}

function claims(): Command {
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
    .action(async (path: string, options: ClaimsFormatArguments) => (await import('./claims.js')).format(path, options))
  command('add-host', 'give another host a slot; the others go on meanwhile').argument('<host>', 'its name').addOption(jsonOption())
    .action(async (path: string, host: string, { json }: { readonly json: boolean }) => (await import('./claims.js')).add(path, host, json))
  command('show', 'say which hosts have a slot').addOption(jsonOption())
    .action(async (path: string, { json }: { readonly json: boolean }) => (await import('./claims.js')).show(path, json))
  return top
}

export interface InspectArguments {
  readonly verify: boolean
  readonly log?: string
  readonly progress: boolean
  readonly json: boolean
}

function inspect(): Command {
  return new Command('inspect')
    .description('show what is in a region, and what is wrong with it; needs no daemon and writes nothing')
    .argument('<region>', 'a region\'s file or block device, or a copy of one')
    .option('--verify', 'check the data of every record too, not only the headers', false)
    .option('--log <volume/epoch>', 'list the records of this log; a volume\'s id may be cut short, the epoch left out; "all" lists every log')
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText('after', `
While a daemon has the region open it can be looked at, but nothing is proved: what looks damaged may be a write under
way, and the exit code says ${EXIT.unsafe} then. Damage is exit code ${EXIT.damaged}: the daemon would refuse this region. A torn tail is none.

Examples:
  holdfast inspect /nvme/holdfast.region --verify -p
  holdfast inspect /nvme/holdfast.region --log 6f1f0a52/7
  holdfast inspect /nvme/holdfast.region --json | jq '.findings'`)
    .action(async (region: string, options: InspectArguments) => (await import('./inspect.js')).inspect(region, options))
}

export interface SalvageArguments {
  readonly region: readonly string[]
  readonly backing: string
  readonly out: string
  readonly volume?: string
  readonly claim?: string
  readonly dryRun: boolean
  readonly progress: boolean
  readonly json: boolean
}

function salvage(): Command {
  return new Command('salvage')
    .description('put a volume together in a new image from whatever regions are left; needs no daemon and changes nothing that it is given')
    .requiredOption('--region <path...>', 'regions, or copies of them, of as many hosts as possible')
    .requiredOption('--backing <image>', 'the image, or a copy that is as new')
    .requiredOption('--out <path>', 'the new image; must not exist')
    .option('--volume <name>', 'which one, where there are several: its name or its id, which may be cut short')
    .option('--claim <directory>', 'the claim directory, or the volume\'s folder in it (default: .holdfast beside the image)')
    .option('--dry-run', 'only say what would be used and what is missing', false)
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText('after', `
This is for the day when no host can take the volume over. What one region has damaged is taken from another. Where a
record is nowhere to be had, the new image ends before it, and the exit code is ${EXIT.damaged}.

Example:
  holdfast salvage --region a.region b.region --backing /mnt/ds1/db01.raw --out /srv/db01-salvaged.raw -p`)
    .action(async (options: SalvageArguments) => (await import('./salvage.js')).salvage(options))
}

function replay(): Command {
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
    .action(async (recording: string, options: ReplayArguments) => (await import('./replay.js')).replay(recording, options))
}

function pkiInit(): Command {
  return new Command('init')
    .description('make the cluster\'s certificate authority in a directory')
    .argument('<directory>')
    .action(async (directory: string) => (await import('./pki.js')).pkiInit(directory))
}

function pkiIssue(): Command {
  return new Command('issue')
    .description('issue a host\'s certificate and key')
    .argument('<directory>', 'where the authority is')
    .argument('<host>', 'host id, as in [host] name')
    .argument('[address...]', 'names and addresses that peers dial')
    .addHelpText('after', `
Example:
  holdfast pki init ./pki
  holdfast pki issue ./pki hv07 hv07.example.org 10.0.0.7`)
    .action(async (directory: string, host: string, addresses: string[]) => (await import('./pki.js')).pkiIssue(directory, host, addresses))
}
