/** `holdfast serve`. */
import { formatBytes } from '../config/units.js'
import { loadDocument } from '../config/load.js'
import { createLogger } from '../control/log.js'
import { EXIT, Failure } from '../core/failure.js'
import { startHost, type RunningHost } from '../daemon/serve.js'
import { ServiceManager } from '../daemon/service-manager.js'
import { Watchdog } from '../daemon/watchdog.js'
import { limits } from '../limits.js'
import type { HostStatus } from '../ports/control.js'
import { progressLine } from './progress.js'
import { untilStopped } from './run.js'

export async function serve(configPath: string): Promise<void> {
  const service = new ServiceManager(), hangups = new Hangups()
  const document = loadDocument(configPath), { config } = document, log = createLogger()
  const creating = progressLine('creating the region')
  service.status('opening the region')
  const running = await startHost(document, log, (done, total) => {
    service.extend(limits.serviceExtendMs)
    service.status(`creating the region, ${Math.floor(100 * done / total)}%`)
    creating(done, total)
  })
  // Ends by a signal only: a host without volumes still holds copies for others.
  const stopped = untilStopped(new Promise(() => undefined))
  const watchdog = service.watchdogMs === null ? null : new Watchdog(running.ring, service.watchdogMs, () => service.alive())
  const show = (): void => service.status(summary(running.host.status()))
  show()
  const shown = setInterval(show, limits.serviceStatusMs)
  service.ready()
  hangups.follow(async () => {
    service.reloading()
    await running.reload()
    service.ready()
  })
  const status = running.host.status(), volumes = [...status.volumes, ...status.waiting].map((v) => v.name).join(', ') || 'no volumes, only copies of others'
  process.stdout.write(`holdfast: host ${config.host.name} serves ${volumes}; control socket ${config.host.control_socket}\n`)
  await stopped
  hangups.follow(null)
  log.info('stopping: bringing what is dirty to the shared storage')
  service.stopping()
  service.status('stopping: bringing what is dirty to the shared storage')
  clearInterval(shown)
  // The ring is closed on the way; what is left to do has a bound of its own.
  watchdog?.stop()
  const feeding = setInterval(() => service.alive(), limits.serviceStatusMs)
  await ended(running)
  clearInterval(feeding)
  service.close()
}

/** Throws Failure(unsafe) when not all of it could be done in time. */
export async function ended(running: Pick<RunningHost, 'stop'>, boundMs: number = limits.stopTimeoutMs + limits.stopRestMs): Promise<void> {
  // A storage that hangs keeps those who wait for it; what is in the region is there for the next start.
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => { timer = setTimeout(() => resolve(null), boundMs) })
  const dirty = await Promise.race([running.stop(), late]).finally(() => clearTimeout(timer))
  if (dirty === null) throw new Failure(EXIT.unsafe, `not everything could be brought to its end within ${boundMs / 1000} s, so the daemon ends as after a crash: nothing that was acknowledged is lost, the next start goes on with the region`)
  if (dirty.length > 0) {
    throw new Failure(EXIT.unsafe, `stopped after ${limits.stopTimeoutMs / 1000} s, before everything of ${dirty.join(', ')} was on the shared storage; ` +
      'the rest is in the region and on the copies: start again, or use the volume on another host that has a copy')
  }
}

/** One line for `systemctl status`. */
export function summary({ volumes, waiting, replicas, maintenance }: HostStatus): string {
  const serving = volumes.filter(({ phase }) => phase === 'serving'), dirty = serving.reduce((sum, { dirtyBytes }) => sum + dirtyBytes, 0)
  const named = (what: string, names: readonly { readonly name: string }[]): string[] => names.length === 0 ? [] : [`${what}: ${names.map(({ name }) => name).join(', ')}`]
  return [
    `${serving.length} of ${volumes.length + waiting.length} volumes served here`, ...(dirty === 0 ? [] : [`${formatBytes(dirty)} not on the storage yet`]),
    ...(replicas.length === 0 ? [] : [`${replicas.length} logs held for others`]), ...(maintenance ? ['IN MAINTENANCE'] : []),
    ...named('FAILED', volumes.filter(({ phase }) => phase === 'failed')), ...named('WAITING FOR STORAGE', waiting),
    ...named('WITH LESS THAN ITS POLICY', serving.filter(({ policy }) => policy.reason !== null)),
  ].join('; ')
}

/** SIGHUP from the first moment on: one that comes while the daemon starts must not end it, and has nothing to tell. */
class Hangups {
  #reload: (() => Promise<void>) | null = null
  constructor() { process.on('SIGHUP', () => void this.#reload?.()) }
  follow(reload: (() => Promise<void>) | null): void { this.#reload = reload }
}
