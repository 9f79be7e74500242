/**
 * QEMU's own image locks: byte ranges that QEMU, qemu-img and qemu-io respect, so that none of them opens an image
 * that is attached here. For each permission p a holder read-locks byte 100 + p ("I use it") and byte 200 + p ("I do
 * not share it"). Host-local for block devices, advisory everywhere: a belt, not the fence.
 */
import { EXIT, Failure } from '../core/failure.js'
import { ofdLock, ofdLockConflicts } from '../io/libc.js'

const PERMISSION_BASE = 100, SHARED_BASE = 200
const PERMISSION = { consistentRead: 0, write: 1, resize: 3 } as const

/** Locks the open image; the lock goes with the descriptor. Throws Failure(unsafe) when somebody uses the image. */
export function lockImage(fd: number, path: string, readOnly: boolean): void {
  const uses = readOnly ? [PERMISSION.consistentRead] : [PERMISSION.consistentRead, PERMISSION.write]
  const shares: readonly number[] = [PERMISSION.consistentRead]
  const denies = [PERMISSION.write, PERMISSION.resize].filter((p) => !shares.includes(p))
  const refuse = (): never => {
    throw new Failure(EXIT.unsafe, `${path} is in use by another program (its image lock is taken); stop that program first`)
  }
  for (const p of uses) if (!ofdLock(fd, 'read', PERMISSION_BASE + p, 1)) refuse()
  for (const p of denies) if (!ofdLock(fd, 'read', SHARED_BASE + p, 1)) refuse()
  for (const p of uses) if (ofdLockConflicts(fd, 'write', SHARED_BASE + p, 1)) refuse()
  for (const p of denies) if (ofdLockConflicts(fd, 'write', PERMISSION_BASE + p, 1)) refuse()
}
