/** `holdfast libvirt`. */
import { EXIT, Failure } from '../core/failure.js'
import { attach } from '../libvirt/attach.js'
import { MEMORY_BACKING, diskXml } from '../libvirt/disk-xml.js'
import { hook, type HookCall } from '../libvirt/hook.js'
import { localVolumes, type LocalVolume } from '../libvirt/local-volumes.js'
import { limits } from '../limits.js'
import type { LibvirtXmlArguments } from './commands/libvirt.js'

export async function xml(name: string, options: LibvirtXmlArguments): Promise<void> {
  const volume = await known(name, options.config), queues = options.queues ?? null
  if (options.attach === undefined) {
    if (options.persistent || options.connect !== undefined) throw new Failure(EXIT.usage, '--persistent and --connect have a meaning only with --attach DOMAIN')
    print(volume, diskXml({ socket: volume.socket, target: options.target ?? 'vda', queues }), options.json)
    return
  }
  const { attach: domain, target = null, persistent, connect = null } = options
  const as = await attach(volume, { domain, target, queues, persistent, connect })
  process.stdout.write(options.json ? `${JSON.stringify({ volume: name, domain, target: as })}\n` : `${name} is ${as} of ${domain}\n`)
}

async function known(name: string, configPath: string): Promise<LocalVolume> {
  const { control, daemon, volumes } = await localVolumes(configPath)
  // Says why there is none.
  if (!daemon) await control.status()
  const volume = volumes.find((each) => each.name === name)
  if (volume !== undefined) return volume
  throw new Failure(EXIT.usage, `no volume ${name} on this host; there are: ${volumes.map((each) => each.name).join(', ') || 'none'}`)
}

function print({ name, socket }: LocalVolume, disk: string, json: boolean): void {
  const indented = (text: string): string => text.replace(/^(?=.)/gm, '  ')
  process.stdout.write(json ? `${JSON.stringify({ volume: name, socket, memoryBacking: MEMORY_BACKING, disk })}\n`
    : `<!-- Once in <domain>: guest memory that the daemon can map. -->\n${indented(MEMORY_BACKING)}<!-- In <devices>: -->\n${indented(indented(disk))}`)
}

export async function runHook(call: HookCall, configPath: string): Promise<void> {
  await hook(call, await domainXml(), configPath)
}

async function domainXml(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes > limits.domainXmlBytesMax) throw new Failure(EXIT.usage, `what comes on stdin is longer than ${limits.domainXmlBytesMax} bytes, and so no domain's XML`)
  }
  return Buffer.concat(chunks).toString('utf8')
}
