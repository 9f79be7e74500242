/**
 * What the hook does at the two moments that matter. Who owns a volume is never decided here: that moves with vhost-user
 * messages. A hook is called on the destination of a migration long before the switch-over, and of one that fails as well;
 * it may come twice, or at the end without a beginning. Nothing here calls libvirt, which waits for the hook meanwhile.
 */
import { dirname } from 'node:path'
import { whySilent } from '../client/probe.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { readDomain, type Domain } from './domain-xml.js'
import { canonical, localVolumes, type LocalVolume, type LocalVolumes } from './local-volumes.js'

/** As libvirt calls a hook. `extra`: from 11.3, why the domain ends; "-" where it does not say. */
export interface HookCall { readonly operation: string; readonly subOperation: string; readonly extra: string }

/** Throws Failure, with one sentence, when the domain must not start; never otherwise. */
export async function hook({ operation, subOperation, extra }: HookCall, xml: string, configPath: string): Promise<void> {
  if (operation === 'prepare' && subOperation === 'begin') await refuseUnready(readDomain(xml), configPath)
  if (operation === 'release' && subOperation === 'end' && goneForGood(extra)) await tellEnd(xml, configPath)
}

/** A guest that migrated runs on elsewhere, and one that could not be started never ran. Without a word the daemon knows best. */
const goneForGood = (reason: string): boolean => reason !== 'migrated' && reason !== 'failed'

async function refuseUnready(domain: Domain, configPath: string): Promise<void> {
  if (domain.vhostDisks.length === 0) return
  const local = await localVolumes(configPath)
  const ours = domain.vhostDisks.map(({ socket }) => canonical(socket)).filter((socket) => find(local, socket) !== undefined || local.folders.includes(dirname(socket)))
  const problems = await Promise.all(ours.map((socket) => whyUnready(local, socket, configPath)))
  const problem = problems.find((each) => each !== null)
  if (problem != null) throw problem
}

const find = ({ volumes }: LocalVolumes, socket: string): LocalVolume | undefined => volumes.find((volume) => canonical(volume.socket) === socket)

async function whyUnready(local: LocalVolumes, socket: string, configPath: string): Promise<Failure | null> {
  const volume = find(local, socket)
  if (volume === undefined && local.daemon) {
    return new Failure(EXIT.config, `no volume of this host has the socket ${socket}; add it as [[volume]] to ${configPath} and start the daemon again, or start the domain where it is`)
  }
  if (volume?.problem != null) return new Failure(EXIT.unsafe, `volume ${volume.name} cannot be used now: ${volume.problem}`)
  const silent = await whySilent(socket, limits.probeMs)
  if (silent === null) return null
  const whose = volume === undefined ? '' : `volume ${volume.name}: `
  return new Failure(EXIT.unreachable, `${whose}${socket} ${silent}, and QEMU would wait for it for ever; is "holdfast serve" running?`)
}

/** Nobody waits for what is dirty any more: the daemon may bring it to the storage before its time. */
async function tellEnd(xml: string, configPath: string): Promise<void> {
  try {
    const { vhostDisks } = readDomain(xml)
    if (vhostDisks.length === 0) return
    const local = await localVolumes(configPath)
    if (!local.daemon) return
    await Promise.all(vhostDisks.flatMap(({ socket }) => find(local, canonical(socket)) ?? []).map(({ name }) => local.control.guestEnded(name)))
  } catch (error) {
    // The domain has ended, whatever happens here; libvirt logs this.
    process.stderr.write(`holdfast: ${(error as Error).message}\n`)
  }
}
