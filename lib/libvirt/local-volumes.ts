/**
 * Which volumes this host has, and on which sockets: as its daemon says, else as its configuration does. A VM that is to
 * start cannot wait for a daemon that hangs.
 */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { loadConfig } from '../config/load.js'
import { hostSchema } from '../config/schema.js'
import { ControlClient } from '../control/client.js'
import { limits } from '../limits.js'

export interface LocalVolume {
  readonly name: string
  readonly socket: string
  /** Why no guest can use it now, as the daemon says; null: no reason is known. */
  readonly problem: string | null
  /** Front ends that are connected. */
  readonly frontEnds: number
}

export interface LocalVolumes {
  readonly control: ControlClient
  /** The daemon answered. */
  readonly daemon: boolean
  readonly volumes: readonly LocalVolume[]
  /** Here are sockets of volumes only. */
  readonly folders: readonly string[]
}

/** /var/run and /run are one folder; the socket itself may be missing. */
export function canonical(path: string): string {
  const folder = dirname(resolve(path))
  try { return join(realpathSync(folder), basename(path)) } catch { return resolve(path) }
}

/** `configPath`: may be missing, then the daemon is where it is by default. */
export async function localVolumes(configPath: string): Promise<LocalVolumes> {
  const config = configured(configPath)
  const usual = hostSchema.parse({ name: 'localhost' }).control_socket, controlPath = config?.host.control_socket ?? usual
  const control = new ControlClient(controlPath), folders = [usual, controlPath].map((path) => dirname(canonical(path)))
  const status = await control.status(limits.probeMs).catch(() => null)
  const unknown = (config?.volume ?? []).filter(({ name }) => status?.volumes.every((volume) => volume.name !== name) ?? true)
    .map(({ name, socket }): LocalVolume => ({ name, socket, frontEnds: 0, problem: status === null ? null : 'the daemon was started before it was configured; start the daemon again' }))
  if (status === null) return { control, daemon: false, volumes: unknown, folders }
  const waiting = status.waiting.map(({ name, socket, reason }): LocalVolume => ({ name, socket, frontEnds: 0, problem: `it waits for its storage: ${reason}` }))
  const served = status.volumes.map(({ name, socket, phase, reason, frontEnds }): LocalVolume =>
    ({ name, socket, frontEnds, problem: phase === 'failed' ? `it is FAILED: ${reason ?? 'see the daemon\'s log'}` : null }))
  return { control, daemon: true, folders, volumes: [...served, ...waiting, ...unknown.filter(({ name }) => waiting.every((volume) => volume.name !== name))] }
}

/** Null where there is none that can be read: what is wrong with it is for the daemon to say. */
function configured(path: string): ReturnType<typeof loadConfig> | null {
  try { return loadConfig(path) } catch { return null }
}
