/** `holdfast serve`. */
import { loadConfig } from '../config/load.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { createLogger } from '../control/log.js'
import { startHost } from '../daemon/serve.js'
import { progressLine } from './progress.js'
import { untilStopped } from './run.js'

export async function serve(configPath: string): Promise<void> {
  const config = loadConfig(configPath)
  const log = createLogger()
  const running = await startHost(config, log, progressLine('creating the region'))
  // Ends by a signal only: a host without volumes still holds copies for others.
  const stopped = untilStopped(new Promise(() => undefined))
  const volumes = config.volume.map((v) => v.name).join(', ') || 'no volumes, only copies of others'
  process.stdout.write(`holdfast: host ${config.host.name} serves ${volumes}; control socket ${config.host.control_socket}\n`)
  await stopped
  log.info('stopping: bringing what is dirty to the shared storage')
  const dirty = await running.stop()
  if (dirty.length > 0) {
    throw new Failure(EXIT.unsafe, `stopped after ${limits.stopTimeoutMs / 1000} s, before everything of ${dirty.join(', ')} was on the shared storage; ` +
      'the rest is in the region and on the copies: start again, or use the volume on another host that has a copy')
  }
}
