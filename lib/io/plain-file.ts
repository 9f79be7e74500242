/**
 * A file or block device that is only read, without io_uring and O_DIRECT: for commands that look at a region on any
 * machine and any file system. What cannot be read comes back as zeros and is listed: formats have checksums, so the
 * rest of a failing disk is still of use.
 */
import { closeSync, constants, fstatSync, openSync, read as readFd } from 'node:fs'
import { native } from 'vhost-user-ts-bindings'
import { EXIT, Failure } from '../core/failure.js'
import type { CompletionTarget } from '../ports/io.js'
import { blockDeviceBytes, ofdLock, ofdLockConflicts } from './libc.js'

const BLOCK = 4096
/** More places than these are counted, and not listed. */
const BAD_PLACES_MAX = 1000

/** Bytes read at an offset, 0 at the end. Rejects with what the system says. */
export type ReadAt = (bytes: Uint8Array, offsetBytes: number) => Promise<number>

export interface BadPlace { readonly offsetBytes: number; readonly lengthBytes: number; readonly reason: string }

const readAtOf = (fd: number): ReadAt => (bytes, offsetBytes) => new Promise((resolve, reject) => {
  readFd(fd, bytes, 0, bytes.length, offsetBytes, (error, n) => { if (error === null) resolve(n); else reject(error) })
})

export class PlainFile {
  readonly path: string
  readonly sizeBytes: number
  readonly badPlaces: BadPlace[] = []
  badBytes = 0
  readonly #fd: number
  readonly #readAt: ReadAt

  constructor(path: string, fd: number, sizeBytes: number, readAt: ReadAt = readAtOf(fd)) {
    this.path = path
    this.#fd = fd
    this.sizeBytes = sizeBytes
    this.#readAt = readAt
  }

  /** Throws Failure with one sentence. */
  static open(path: string): PlainFile {
    let fd: number
    try {
      fd = openSync(path, constants.O_RDONLY)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new Failure(code === 'ENOENT' ? EXIT.usage : code === 'EACCES' ? EXIT.denied : EXIT.config,
        `${path} cannot be opened: ${code === 'ENOENT' ? 'there is no such file' : message}`, { cause: error })
    }
    const status = fstatSync(fd)
    const sizeBytes = status.isBlockDevice() ? blockDeviceBytes(fd) : status.isFile() ? status.size : null
    if (sizeBytes !== null) return new PlainFile(path, fd, sizeBytes)
    closeSync(fd)
    throw new Failure(EXIT.usage, `${path} is neither a regular file nor a block device`)
  }

  /** Does somebody hold the lock that a daemon takes on its region? */
  get inUse(): boolean { return ofdLockConflicts(this.#fd, 'read', 0, 1) }
  /** No daemon can open the region until this is closed; false when one has it. */
  keepOthersOut(): boolean { return ofdLock(this.#fd, 'read', 0, 1) }

  /** The reading half of `BlockFile`; never fails. */
  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    const view = native.viewOf(address, lengthBytes)
    void this.#fill(new Uint8Array(view), offsetBytes).then(() => {
      native.detach(view)
      target.complete(token, lengthBytes)
    })
  }

  async #fill(bytes: Uint8Array, offsetBytes: number): Promise<void> {
    let done = 0
    try {
      while (done < bytes.length) {
        const n = await this.#readAt(bytes.subarray(done), offsetBytes + done)
        if (n === 0) break
        done += n
      }
    } catch (error) {
      await this.#fillBlocks(bytes.subarray(done), offsetBytes + done, (error as Error).message)
      return
    }
    if (done < bytes.length) this.#bad(bytes.subarray(done), offsetBytes + done, 'beyond the end of the file')
  }

  /** One bad sector must not take along the megabyte around it. */
  async #fillBlocks(bytes: Uint8Array, offsetBytes: number, reason: string): Promise<void> {
    if (bytes.length <= BLOCK) { this.#bad(bytes, offsetBytes, reason); return }
    for (let at = 0; at < bytes.length; at += BLOCK) await this.#fill(bytes.subarray(at, Math.min(at + BLOCK, bytes.length)), offsetBytes + at)
  }

  #bad(bytes: Uint8Array, offsetBytes: number, reason: string): void {
    bytes.fill(0)
    this.badBytes += bytes.length
    const last = this.badPlaces.at(-1)
    if (last?.reason === reason && last.offsetBytes + last.lengthBytes === offsetBytes) {
      this.badPlaces[this.badPlaces.length - 1] = { ...last, lengthBytes: last.lengthBytes + bytes.length }
    } else if (this.badPlaces.length < BAD_PLACES_MAX) {
      this.badPlaces.push({ offsetBytes, lengthBytes: bytes.length, reason })
    }
  }

  close(): void { closeSync(this.#fd) }
}
