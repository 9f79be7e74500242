/**
 * The FUSE export of a qemu-storage-daemon older than 10.0.13 keeps one buffer for all requests: of two that overlap
 * in time, one is stored with the other's bytes, and nobody is told. Destaging writes many at a time, so an image that
 * is shown this way is refused. Other FUSE file systems are not QEMU's and are none of this file's business.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync, readlinkSync, realpathSync, statSync, statfsSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'

const FUSE_SUPER_MAGIC = 0x65735546
const FIXED = [10, 0, 13] as const
/** What QEMU asks of the kernel; a whole file system asks for less, and is called by its own name. */
const QEMU_MAX_READ = 'max_read=67108864'
const VERSION_MS = 5000

export interface Mount {
  readonly point: string
  /** "fuse", or "fuse.sshfs" for a file system that says which one it is. */
  readonly type: string
  readonly options: readonly string[]
  /** The number of the FUSE connection. */
  readonly minor: number
}

/** The mount that a path without symbolic links lies on, by the text of /proc/self/mountinfo. */
export function mountOf(path: string, mountinfo: string): Mount | null {
  let best: Mount | null = null
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ')
    if (right === undefined) continue
    const fields = left!.split(' '), [type, , options] = right.split(' ')
    const point = fields[4]!.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
    if (path !== point && !path.startsWith(point.endsWith('/') ? point : `${point}/`)) continue
    // Of two on one place the later one hides the earlier.
    if (best === null || point.length >= best.point.length) best = { point, type: type!, options: (options ?? '').split(','), minor: Number(fields[2]!.split(':')[1]) }
  }
  return best
}

/** QEMU shows one file, under no name of its own, with its own read size. */
export const looksLikeQemu = (mount: Mount, path: string): boolean => mount.type === 'fuse' && mount.point === path && mount.options.includes(QEMU_MAX_READ)

/** Of a version like "10.0.13". */
export function isFixed(version: string): boolean {
  const parts = version.split('.').map(Number)
  for (const [i, least] of FIXED.entries()) {
    const part = parts[i] ?? 0
    if (part !== least) return part > least
  }
  return true
}

/** Throws Failure(config) for an image behind QEMU's FUSE export, unless it is certain that this one has been repaired. */
export function refuseQemuFuse(path: string): void {
  let real: string
  try {
    real = realpathSync(path)
    if (statfsSync(real).type !== FUSE_SUPER_MAGIC) return
  } catch {
    return // Opening it says what is wrong with it.
  }
  const mount = mountOf(real, readFileSync('/proc/self/mountinfo', 'utf8'))
  if (mount === null || !looksLikeQemu(mount, real)) return
  const version = versionOfServer(mount)
  if (version !== null && isFixed(version)) return
  throw new Failure(EXIT.config, `${path} is the FUSE export of a qemu-storage-daemon${version === null ? ' of unknown version' : ` ${version}`}, ` +
    `which before ${FIXED.join('.')} stores wrong bytes when requests overlap; give Holdfast what that daemon opens instead: ` +
    'backing.blockdev in the configuration, --blockdev for "holdfast blk" (nothing was changed)')
}

/** Asks the program that serves the mount. Null when it cannot be found, or is none that may be run here. */
function versionOfServer(mount: Mount): string | null {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && serves(name, mount))
  if (pid === undefined) return null
  try {
    const program = `/proc/${pid}/exe`, status = statSync(program)
    // It is run with our rights: only what the administrator installed.
    if (!/^qemu-/.test(readFileSync(`/proc/${pid}/comm`, 'utf8')) || status.uid !== 0 || (status.mode & 0o022) !== 0) return null
    const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', timeout: VERSION_MS })
    return /version (\d+(?:\.\d+)+)/.exec(stdout)?.[1] ?? null
  } catch {
    return null
  }
}

function serves(pid: string, mount: Mount): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === '/dev/fuse' &&
      new RegExp(`^fuse_connection:\\s*${mount.minor}$`, 'm').test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))) ||
      commandNames(pid, mount.point)
  } catch {
    return false
  }
}

/** Older kernels do not say which connection a descriptor belongs to. */
function commandNames(pid: string, point: string): boolean {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('qemu-') && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`mountpoint=${point}`)
}
