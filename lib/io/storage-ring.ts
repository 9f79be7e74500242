/**
 * A ring of its own for each shared storage, so that one that hangs takes no entries from the regions and the other
 * volumes. On a file system that cannot say "not now", io_uring_enter itself would stand still in it, and with it every
 * guest of this host: there each operation is handed to a kernel thread at once.
 */
import { statfsSync } from 'node:fs'
import { limits } from '../limits.js'
import { IoRing } from './ring.js'

/** Local file systems with non-blocking direct I/O: ext2 to ext4, xfs, btrfs, f2fs, and what they look like below overlayfs. */
const NEVER_BLOCK = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x794c7630])

/** `path`: the image, a device node (whose own queue never blocks), or a folder on the storage. */
export function storageRing(path: string, isBlockDevice: boolean): IoRing {
  return new IoRing(limits.storageRingEntries, { offload: !isBlockDevice && !NEVER_BLOCK.has(fileSystemType(path)) })
}

function fileSystemType(path: string): number {
  try { return statfsSync(path).type } catch { return 0 }
}
