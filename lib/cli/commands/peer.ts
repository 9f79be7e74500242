/** `holdfast peer`. */
import { Command, Option } from 'commander'
import { EXIT } from '../../core/failure.js'
import { limits } from '../../limits.js'
import { type ControlArguments, controlOptions, jsonOption } from './options.js'

/** `store`: without a daemon. `as`: whose slot there is used, where it is a lease volume. */
export interface PeerArguments extends ControlArguments { readonly store?: string; readonly as?: string }
export interface PeerAddArguments extends PeerArguments { readonly faultDomain?: string }
export interface PeerRevokeArguments extends PeerArguments { readonly force: boolean }

export function peer(): Command {
  return new Command('peer').description('which hosts belong to the cluster').addCommand(list()).addCommand(show()).addCommand(add()).addCommand(revoke())
}

/** `writes`: on a lease volume that is done in a slot. */
function peerCommand(name: string, description: string, writes: boolean): Command {
  const command = new Command(name).description(description)
  for (const option of controlOptions()) command.addOption(option)
  command.addOption(new Option('--store <path>', 'work on cluster.store itself, where no daemon runs').conflicts(['control', 'config']))
  if (writes) command.addOption(new Option('--as <host>', 'with --store: whose slot is used, where it is a lease volume'))
  return command.addOption(jsonOption())
}

function add(): Command {
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
    .action(async (name: string, address: string, options: PeerAddArguments) => (await import('../peer.js')).add(name, address, options))
}

function revoke(): Command {
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
    .action(async (name: string, options: PeerRevokeArguments) => (await import('../peer.js')).revoke(name, options))
}

function list(): Command {
  return peerCommand('list', 'show which hosts belong to the cluster, and which were revoked', false)
    .addHelpText('after', `
Example:
  holdfast peer list --json | jq '.hosts[] | select(.revoked) | .name'`)
    .action(async (options: PeerArguments) => (await import('../peer.js')).list(options))
}

function show(): Command {
  return peerCommand('show', 'show what is known of one host', false)
    .argument('<name>', 'its host id')
    .addHelpText('after', `
Example:
  holdfast peer show hv08 --json | jq .connected`)
    .action(async (name: string, options: PeerArguments) => (await import('../peer.js')).show(name, options))
}
