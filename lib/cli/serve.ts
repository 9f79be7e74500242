import { loadConfig } from '../config/load.js'
import { createLogger } from '../control/log.js'
import { startHost } from '../daemon/serve.js'
import { progressLine } from './progress.js'
import { untilStopped } from './run.js'

/** `holdfast serve`. */
export async function serve(configPath: string): Promise<void> {
  const config = loadConfig(configPath)
  const log = createLogger()
  const running = await startHost(config, log, progressLine('creating the region'))
  process.stdout.write(`holdfast: host ${config.host.name} serves ${config.volume.map((v) => v.name).join(', ') || 'no volumes, only copies of others'}; control socket ${config.host.control_socket}\n`)
  await untilStopped(new Promise(() => undefined))
  log.info('stopping: draining what this host owns')
  await running.stop()
}
