/** The disk below a file, as the kernel sees it. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** "write back", "write through", or null where the kernel does not say, as for a file on a network. */
export function writeCacheBelow(path: string): string | null {
  const status = statSync(path), device = status.isBlockDevice() ? status.rdev : status.dev
  // Bits of dev_t as in <sys/sysmacros.h>, for the majors and minors that there are.
  const major = (device >>> 8) & 0xfff, minor = (device & 0xff) + ((device >>> 12) & 0xfff00)
  try {
    const folder = realpathSync(`/sys/dev/block/${major}:${minor}`)
    // A partition has its disk's queue.
    const queue = [join(folder, 'queue/write_cache'), join(folder, '../queue/write_cache')].find((file) => existsSync(file))
    return queue === undefined ? null : readFileSync(queue, 'utf8').trim()
  } catch {
    return null
  }
}
