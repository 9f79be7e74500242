/** A regular file or block device, O_DIRECT through the ring. */
import { closeSync, constants, fstatSync, openSync, statSync, type Stats } from 'node:fs'
import { assert } from '../core/assert.js'
import { EXIT, Failure } from '../core/failure.js'
import type { BlockFile, CompletionTarget } from '../ports/io.js'
import { blockDeviceBytes, blockDeviceSectorBytes } from './libc.js'
import { AlignedMemory } from './memory.js'
import { operation } from './operation.js'
import type { IoRing } from './ring.js'

const EIO = 5

/** An operation whose short results must be continued; rare, so an object is fine. */
class Continued implements CompletionTarget {
  readonly #step: (doneBytes: number, target: CompletionTarget) => void
  readonly #lengthBytes: number
  readonly #target: CompletionTarget
  readonly #token: number
  #doneBytes = 0

  constructor(lengthBytes: number, target: CompletionTarget, token: number, step: (doneBytes: number, target: CompletionTarget) => void) {
    this.#lengthBytes = lengthBytes
    this.#target = target
    this.#token = token
    this.#step = step
  }

  complete(_token: number, result: number): void {
    if (result <= 0) { this.#target.complete(this.#token, result === 0 ? -EIO : result); return }
    this.#doneBytes += result
    if (this.#doneBytes < this.#lengthBytes) this.#step(this.#doneBytes, this)
    else this.#target.complete(this.#token, this.#lengthBytes)
  }
}

export class RingBlockFile implements BlockFile, CompletionTarget {
  readonly path: string
  readonly fd: number
  #sizeBytes: number
  readonly alignmentBytes: number
  readonly isBlockDevice: boolean
  readonly #ring: IoRing
  /** Operations under way, so that a short result can be continued without a closure per operation. */
  readonly #targets: (CompletionTarget | null)[] = []
  readonly #tokens: number[] = []
  readonly #addresses: number[] = []
  readonly #lengths: number[] = []
  readonly #offsets: number[] = []
  /** 0 read, 1 write, 2 durable write. */
  readonly #kinds: number[] = []
  readonly #free: number[] = []

  constructor(ring: IoRing, path: string, fd: number, sizeBytes: number, alignmentBytes: number, isBlockDevice: boolean) {
    this.#ring = ring
    this.path = path
    this.fd = fd
    this.#sizeBytes = sizeBytes
    this.alignmentBytes = alignmentBytes
    this.isBlockDevice = isBlockDevice
  }

  get sizeBytes(): number { return this.#sizeBytes }
  refreshSize(): void { this.#sizeBytes = sizeOf(this.fd, this.isBlockDevice) }

  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    this.#ring.read(this.fd, address, lengthBytes, offsetBytes, this, this.#track(0, address, lengthBytes, offsetBytes, target, token))
  }

  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    this.#ring.write(this.fd, address, lengthBytes, offsetBytes, durable, this,
      this.#track(durable ? 2 : 1, address, lengthBytes, offsetBytes, target, token))
  }

  flush(target: CompletionTarget, token: number): void { this.#ring.fdatasync(this.fd, target, token) }

  fallocate(mode: number, offsetBytes: number, lengthBytes: number, target: CompletionTarget, token: number): void {
    this.#ring.fallocate(this.fd, mode, offsetBytes, lengthBytes, target, token)
  }

  #track(kind: number, address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): number {
    const slot = this.#free.pop() ?? this.#targets.length
    this.#targets[slot] = target
    this.#tokens[slot] = token
    this.#addresses[slot] = address
    this.#lengths[slot] = lengthBytes
    this.#offsets[slot] = offsetBytes
    this.#kinds[slot] = kind
    return slot
  }

  complete(slot: number, result: number): void {
    const target = this.#targets[slot]!, token = this.#tokens[slot]!, length = this.#lengths[slot]!
    this.#targets[slot] = null
    this.#free.push(slot)
    if (result === length || result < 0) { target.complete(token, result); return }
    this.#continue(slot, target, token, length, result)
  }

  #continue(slot: number, target: CompletionTarget, token: number, length: number, result: number): void {
    const address = this.#addresses[slot]!, offset = this.#offsets[slot]!, kind = this.#kinds[slot]!
    new Continued(length, target, token, (done, self) => {
      if (kind === 0) this.#ring.read(this.fd, address + done, length - done, offset + done, self, 0)
      else this.#ring.write(this.fd, address + done, length - done, offset + done, kind === 2, self, 0)
    }).complete(0, result)
  }

  close(): void { closeSync(this.fd) }
}

export interface OpenOptions { readonly readOnly: boolean }

/** Throws Failure with one sentence for what a person can set right. */
export async function openBlockFile(ring: IoRing, path: string, options: OpenOptions): Promise<RingBlockFile> {
  let fd: number
  try {
    fd = openSync(path, (options.readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_DIRECT)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    // Directories and character devices refuse O_DIRECT too.
    if (code === 'EINVAL' && !holdsBlocks(statSync(path))) throw notBlocks(path)
    if (code === 'EINVAL') throw new Failure(EXIT.config, `${path}: its file system does not support O_DIRECT; put it on ext4, xfs or a block device`)
    throw new Failure(EXIT.config, `${path} cannot be opened: ${code === 'ENOENT' ? 'there is no such file' : (error as Error).message}`, { cause: error })
  }
  try {
    const status = fstatSync(fd)
    if (!holdsBlocks(status)) throw notBlocks(path)
    const isBlockDevice = status.isBlockDevice()
    const sizeBytes = sizeOf(fd, isBlockDevice)
    const alignment = isBlockDevice ? (blockDeviceSectorBytes(fd) ?? 4096) : await probeAlignment(ring, fd, sizeBytes)
    return new RingBlockFile(ring, path, fd, sizeBytes, alignment, isBlockDevice)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** False also when there is nothing: opening it says so better. */
export const isBlockDevice = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false

const holdsBlocks = (status: Stats): boolean => status.isBlockDevice() || status.isFile()
const notBlocks = (path: string): Failure => new Failure(EXIT.config, `${path} is neither a regular file nor a block device`)

/** O_DIRECT at 512 bytes works where the device below has 512-byte sectors; a read tells, and changes nothing. */
async function probeAlignment(ring: IoRing, fd: number, sizeBytes: number): Promise<number> {
  if (sizeBytes < 4096) return 512
  const memory = new AlignedMemory(8192)
  try {
    await operation((target) => ring.read(fd, memory.address + 512, 512, 512, target, 0))
    return 512
  } catch {
    return 4096
  } finally {
    memory.free()
  }
}

function sizeOf(fd: number, isBlockDevice: boolean): number {
  const sizeBytes = isBlockDevice ? blockDeviceBytes(fd) : fstatSync(fd).size
  assert(sizeBytes !== null, 'a block device has a size')
  return sizeBytes
}
