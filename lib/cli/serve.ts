/** `holdfast serve`. */
import { loadConfig } from '../config/load.js'
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
  await running.stop()
}
