/**
 * Dirty logging for live migration: a bit for each 4 KiB page of guest memory that this back end has written, set
 * after the write and before the guest is told (H54).
 */
import { native } from 'vhost-user-ts-bindings'

const PAGE = 4096

export class DirtyLog {
  readonly #address: number
  readonly #mapBytes: number
  readonly #offset: number
  readonly #bits: number
  readonly #watch: number

  /** `fd` may be closed afterwards. */
  constructor(fd: number, sizeBytes: number, offsetBytes: number) {
    this.#mapBytes = sizeBytes + offsetBytes
    this.#offset = offsetBytes
    this.#bits = sizeBytes * 8
    this.#address = native.mapShared(fd, this.#mapBytes, 0)
    this.#watch = native.watchRange(this.#address, this.#mapBytes)
  }

  /** Marks every page that [guestAddress, +lengthBytes) touches; pages beyond the log are the front end's to know of. */
  mark(guestAddress: number, lengthBytes: number): void {
    if (lengthBytes <= 0) return
    const first = Math.floor(guestAddress / PAGE)
    const last = Math.min(Math.floor((guestAddress + lengthBytes - 1) / PAGE), this.#bits - 1)
    if (first <= last) native.orBits(this.#address + this.#offset, first, last - first + 1)
  }

  close(): void {
    native.unwatchRange(this.#watch)
    native.unmap(this.#address, this.#mapBytes)
  }
}
