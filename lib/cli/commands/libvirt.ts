/** `holdfast libvirt`: its options, arguments and examples. */
import { Command, Option } from 'commander'
import { EXIT } from '../../core/failure.js'
import { limits } from '../../limits.js'
import { integerArgument } from '../arguments.js'

const CONFIG = '/etc/holdfast/holdfast.toml'

export interface LibvirtXmlArguments {
  readonly attach?: string
  readonly target?: string
  readonly queues?: number
  readonly persistent: boolean
  readonly connect?: string
  readonly config: string
  readonly json: boolean
}

export interface LibvirtHookArguments { readonly config: string }

export function libvirt(): Command {
  return new Command('libvirt').description('volumes as disks of libvirt\'s domains').addCommand(xml()).addCommand(hook())
}

const configOption = (): Option => new Option('--config <file>', 'the daemon\'s configuration, which names its control socket').default(CONFIG)

function xml(): Command {
  return new Command('xml')
    .description('print the XML that makes a volume a disk of a domain, or attach it to one that runs')
    .argument('<volume>', 'its name; the daemon must know it')
    .option('--attach <domain>', 'attach it to this running domain, with virsh, once its socket has answered')
    .option('--target <name>', 'what the domain calls the disk (default: vda; with --attach the first that is free)')
    .addOption(new Option('--queues <n>', 'queues (default: one for each vCPU)').argParser(integerArgument(1, limits.queuesMax)))
    .option('--persistent', 'with --attach: also for the domain\'s next starts', false)
    .option('--connect <uri>', 'with --attach: libvirt\'s URI')
    .addOption(configOption())
    .option('--json', 'for scripts', false)
    .addHelpText('after', `
Attaching by hand with "virsh attach-device" freezes the running guest when the socket is absent, because libvirt calls no hook
then. --attach asks the socket first, for at most ${limits.probeMs / 1000} s.

Examples:
  holdfast libvirt xml db01
  holdfast libvirt xml db01 --attach vm1 --persistent`)
    .action(async (volume: string, options: LibvirtXmlArguments) => (await import('../libvirt.js')).xml(volume, options))
}

function hook(): Command {
  return new Command('hook')
    .description('what libvirt\'s hook asks, with the domain\'s XML on stdin; packaging/libvirt/hooks/holdfast calls it')
    .argument('<domain>')
    .argument('<operation>', '"prepare", "release" and others')
    .argument('<sub-operation>', '"begin" or "end"')
    .argument('[extra]', 'why the domain ends, where libvirt says it', '-')
    .addOption(configOption())
    .addHelpText('after', `
prepare begin: every volume of the domain must answer on its socket within ${limits.probeMs / 1000} s; else one sentence, and exit code ${EXIT.unreachable}, ${EXIT.unsafe} or ${EXIT.config}.
release end: the daemon hears that the guest is gone, and brings what is dirty to the storage in the background; not after a
migration. Everything else, and every domain without a volume of Holdfast: nothing.

Example:
  holdfast libvirt hook vm1 prepare begin < vm1.xml`)
    .action(async (_domain: string, operation: string, subOperation: string, extra: string, options: LibvirtHookArguments) =>
      (await import('../libvirt.js')).runHook({ operation, subOperation, extra }, options.config))
}
