import { createLogger } from '../control/log.js'
import { EXIT, Failure } from '../core/failure.js'
import { startBlk } from '../daemon/blk.js'
import { untilStopped } from './run.js'
import { progressLine } from './progress.js'

/** `holdfast blk`, with commander's view of the options. */
export async function blk(options: Record<string, unknown>): Promise<void> {
  if (options['printCapabilities'] === true) {
    process.stdout.write(`${JSON.stringify({ type: 'block', features: ['read-only', 'blk-file'] }, null, 2)}\n`)
    return
  }
  const usage = (message: string): never => { throw new Failure(EXIT.usage, message) }
  const { socketPath, fd, blkFile, cache, cacheSize, durability } = options
  if ((socketPath === undefined) === (fd === undefined)) usage('give either --socket-path PATH or --fd NUMBER')
  if (blkFile === undefined) usage('--blk-file PATH is missing: the raw image or block device to serve')
  if (cacheSize !== undefined && cache === undefined) usage('--cache-size needs --cache PATH')
  if (durability !== 'flush' && durability !== 'write') usage(`--durability ${String(durability)} must be "flush" or "write"`)
  const running = await startBlk({
    socket: socketPath !== undefined ? { path: String(socketPath) } : { fd: Number(fd) }, blkFile: String(blkFile),
    cache: cache === undefined ? null : String(cache), cacheBytes: cacheSize === undefined ? null : Number(cacheSize),
    readOnly: options['readOnly'] === true, durability: durability === 'write' ? 'write' : 'flush', quarantineMs: Number(options['quarantine']),
  }, createLogger(), progressLine('creating the region'))
  process.stdout.write(`holdfast: ${running.banner}\n`)
  await untilStopped(running.ended)
  const clean = await running.stop()
  if (!clean) throw new Failure(EXIT.unsafe, 'stopped before everything was on the backing; the rest is in the region, start again with the same --cache to go on')
}
