/** `holdfast blk`. */
import { describeSource } from '../backing/open.js'
import { createLogger } from '../control/log.js'
import { EXIT, Failure } from '../core/failure.js'
import { startBlk } from '../daemon/blk.js'
import { limits } from '../limits.js'
import type { BlkArguments } from './commands/blk.js'
import { progressLine } from './progress.js'
import { untilStopped } from './run.js'

export async function blk({ socketPath, fd, blkFile, blockdev, cache, cacheSize, readOnly, durability, quarantine, order }: BlkArguments): Promise<void> {
  const usage = (message: string): never => { throw new Failure(EXIT.usage, message) }
  if ((socketPath === undefined) === (fd === undefined)) usage('give either --socket-path PATH or --fd NUMBER')
  const image = blkFile ?? (blockdev === undefined ? undefined : { blockdev })
  if (image === undefined) return usage('--blk-file PATH is missing: the raw image or block device to serve (or --blockdev JSON)')
  if (cacheSize !== undefined && cache === undefined) usage('--cache-size needs --cache PATH')
  const running = await startBlk({
    socket: socketPath !== undefined ? { path: socketPath } : { fd: fd! }, image, readOnly, durability, quarantineMs: quarantine,
    cache: cache ?? null, cacheBytes: cacheSize ?? null, order: order ?? null,
  }, createLogger(), progressLine('creating the region'))
  const stopped = untilStopped(running.ended)
  process.stdout.write(`holdfast: ${running.banner}\n`)
  await stopped
  if (await running.stop()) return
  throw new Failure(EXIT.unsafe, `stopped after ${limits.stopTimeoutMs / 1000} s, before everything was in ${describeSource(image)}; the rest is in ${cache}: start again with it to go on`)
}
