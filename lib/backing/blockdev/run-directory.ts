/**
 * The private directory of one volume's qemu-storage-daemon: its socket, and its process id. Held by a lock as long as
 * this process uses it, so that a daemon found in it belongs to nobody any more: one that outlived its Holdfast is
 * ended, and waited for, before the image is opened again.
 */
import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from '../../core/failure.js'
import { ofdLock } from '../../io/libc.js'
import { limits } from '../../limits.js'

const POLL_MS = 10

export class RunDirectory {
  readonly socket: string
  readonly #path: string
  readonly #lock: number

  private constructor(path: string, lock: number) {
    this.#path = path
    this.#lock = lock
    this.socket = join(path, 's')
  }

  /** Throws Failure(unsafe) while another process uses it, or while the daemon of an earlier one does not end. */
  static async take(path: string): Promise<RunDirectory> {
    makePrivate(path)
    const lock = openSync(join(path, 'lock'), 'w', 0o600)
    if (!ofdLock(lock, 'write', 0, 1)) {
      closeSync(lock)
      throw new Failure(EXIT.unsafe, `${path} is in use: another Holdfast serves on the same socket; stop that one first, or use another socket`)
    }
    const directory = new RunDirectory(path, lock)
    try {
      await directory.#endStale()
    } catch (error) {
      closeSync(lock)
      throw error
    }
    return directory
  }

  async #endStale(): Promise<void> {
    const pid = Number(textOf(join(this.#path, 'pid')))
    const isOurs = (): boolean => textOf(`/proc/${pid}/cmdline`).includes(this.socket)
    if (!(pid > 1) || !isOurs()) return
    process.kill(pid, 'SIGKILL')
    for (const end = performance.now() + limits.blockdevStopMs; isOurs(); await sleep(POLL_MS)) {
      if (performance.now() < end) continue
      throw new Failure(EXIT.unsafe, `the qemu-storage-daemon of an earlier run (process ${pid}) does not end, so its writes may still reach the image; ` +
        'its storage hangs: start again when that answers')
    }
  }

  /** Whom to end if this process is killed. */
  started(pid: number): void { writeFileSync(join(this.#path, 'pid'), String(pid), { mode: 0o600 }) }

  clearSocket(): void { rmSync(this.socket, { force: true }) }

  /** No daemon runs any more. */
  release(): void {
    rmSync(this.#path, { recursive: true, force: true })
    closeSync(this.#lock)
  }
}

/** Who can enter it can read and write the disk. */
function makePrivate(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    const status = lstatSync(path)
    if (!status.isDirectory() || status.uid !== process.getuid!()) throw new Error('somebody else has made it')
    chmodSync(path, 0o700)
  } catch (error) {
    throw new Failure(EXIT.config, `${path} cannot be made for qemu-storage-daemon: ${(error as Error).message}`, { cause: error })
  }
}

/** Empty where there is no such file. A dead process that was not waited for has an empty command line too. */
function textOf(path: string): string {
  try { return readFileSync(path, 'utf8') } catch { return '' }
}
