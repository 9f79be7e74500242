/** Cold libc calls through koffi: locks, device geometry, space. Never on the data path. */
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const flockType = koffi.struct('holdfast_flock', { l_type: 'short', l_whence: 'short', l_start: 'int64', l_len: 'int64', l_pid: 'int' })
const fcntlLock = libc.func('int fcntl(int fd, int cmd, _Inout_ holdfast_flock *lock)')
const ioctlU64 = libc.func('int ioctl(int fd, ulong request, _Out_ uint64_t *value)')
const ioctlInt = libc.func('int ioctl(int fd, ulong request, _Out_ int *value)')
const fallocate = libc.func('int fallocate(int fd, int mode, int64 offset, int64 length)')
void flockType

const F_OFD_GETLK = 36
const F_OFD_SETLK = 37
const BLKGETSIZE64 = 0x80081272
const BLKSSZGET = 0x1268
const KEEP_SIZE = 1
const PUNCH_HOLE = 2
const LOCK = { read: 0, write: 1, none: 2 } as const

export type LockKind = keyof typeof LOCK

const lockOf = (kind: LockKind, start: number, length: number) =>
  ({ l_type: LOCK[kind], l_whence: 0, l_start: start, l_len: length, l_pid: 0 })

/** Open-file-description lock on bytes [start, start + length); false when somebody else holds a conflicting one. */
export function ofdLock(fd: number, kind: LockKind, start: number, length: number): boolean {
  return (fcntlLock(fd, F_OFD_SETLK, lockOf(kind, start, length)) as number) === 0
}

/** Would a lock of this kind conflict with somebody else's? */
export function ofdLockConflicts(fd: number, kind: LockKind, start: number, length: number): boolean {
  const lock = lockOf(kind, start, length)
  const rc = fcntlLock(fd, F_OFD_GETLK, lock) as number
  return rc !== 0 || lock.l_type !== LOCK.none
}

/** Size of a block device in bytes, or null when this is none. */
export function blockDeviceBytes(fd: number): number | null {
  const value = [0]
  return (ioctlU64(fd, BLKGETSIZE64, value) as number) === 0 ? Number(value[0]) : null
}

/** Logical sector size of a block device in bytes, or null. */
export function blockDeviceSectorBytes(fd: number): number | null {
  const value = [0]
  return (ioctlInt(fd, BLKSSZGET, value) as number) === 0 ? value[0]! : null
}

/** The range reads as zeros afterwards and takes no space; false where the file system cannot do that. */
export function punchHole(fd: number, offsetBytes: number, lengthBytes: number): boolean {
  return (fallocate(fd, KEEP_SIZE + PUNCH_HOLE, offsetBytes, lengthBytes) as number) === 0
}
