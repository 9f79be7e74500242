/** The file or device under a lease volume: whole units, past every cache of this host, each write durable when it has ended. */
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { EXIT, Failure } from '../core/failure.js'
import { AlignedMemory } from '../io/memory.js'
import { blockDeviceBytes, ofdLock } from '../io/libc.js'
import { LEASE_UNIT, decodeHeader, type LeaseHeader } from './lease-layout.js'

const { O_RDWR, O_RDONLY, O_DIRECT, O_DSYNC, O_EXCL } = constants

export class LeaseFile {
  readonly path: string
  readonly #file: FileHandle

  private constructor(path: string, file: FileHandle) {
    this.path = path
    this.#file = file
  }

  /** `exclusive`: nobody else may have a device open so, a mount for example. */
  static async open(path: string, how: 'read' | 'write' | 'exclusive'): Promise<LeaseFile> {
    const flags = O_DIRECT | (how === 'read' ? O_RDONLY : O_RDWR | O_DSYNC) | (how === 'exclusive' ? O_EXCL : 0)
    try {
      return new LeaseFile(path, await open(path, flags))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const why = code === 'EBUSY' ? 'it is in use, perhaps mounted' : code === 'EINVAL' ? 'its file system does not support O_DIRECT' : code === 'ENOENT' ? 'there is no such file' : message
      throw new Failure(code === 'EACCES' || code === 'EPERM' ? EXIT.denied : EXIT.config, `the lease volume ${path} cannot be opened: ${why}`, { cause: error })
    }
  }

  async sizeBytes(): Promise<number> {
    const status = await this.#file.stat()
    return status.isBlockDevice() ? blockDeviceBytes(this.#file.fd) ?? 0 : status.size
  }

  /** What lies beyond the end is zeros. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Buffer> {
    const memory = new AlignedMemory(lengthBytes)
    let doneBytes = 0
    while (doneBytes < lengthBytes) {
      const { bytesRead } = await this.#file.read(memory.bytes, doneBytes, lengthBytes - doneBytes, offsetBytes + doneBytes)
      if (bytesRead === 0) break
      doneBytes += bytesRead
    }
    const bytes = Buffer.from(memory.bytes)
    memory.free()
    return bytes
  }

  /** Durable when it resolves. When it rejects it may have been made, or be made later. */
  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const memory = new AlignedMemory(bytes.length)
    memory.bytes.set(bytes)
    let doneBytes = 0
    while (doneBytes < bytes.length) {
      const { bytesWritten } = await this.#file.write(memory.bytes, doneBytes, bytes.length - doneBytes, offsetBytes + doneBytes)
      doneBytes += bytesWritten
    }
    memory.free()
  }

  /** Held until this process has ended and none of its writes is under way in the kernel any more. */
  lock(offsetBytes: number): boolean { return ofdLock(this.#file.fd, 'write', offsetBytes, 1) }

  /** Null: nothing of ours. Throws Failure(damaged, config). */
  async header(): Promise<LeaseHeader | null> {
    const bytes = await this.read(0, 2 * LEASE_UNIT), copies = [0, 1].map((i) => decodeHeader(bytes.subarray(i * LEASE_UNIT, (i + 1) * LEASE_UNIT)))
    if (copies.includes('newer')) throw new Failure(EXIT.config, `the lease volume ${this.path} has a newer format than this release reads; run the newer release (nothing was changed)`)
    const good = copies.filter((copy): copy is LeaseHeader => typeof copy === 'object' && copy !== null)
    if (good.length > 0) return good.reduce((a, b) => (b.generation > a.generation ? b : a))
    if (copies.includes('damaged')) throw new Failure(EXIT.damaged, `both headers of the lease volume ${this.path} are damaged; keep it, and restore its first 8 KiB from a backup (nothing was changed)`)
    return null
  }

  async truncate(sizeBytes: number): Promise<void> { await this.#file.truncate(sizeBytes) }
  async close(): Promise<void> { await this.#file.close() }
}
