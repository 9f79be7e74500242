/**
 * Dirty logging for live migration: a bit for each 4 KiB page of guest memory that this back end has written, set
 * after the write and before the guest is told (H54).
 */
import { native } from 'vhost-user-ts-bindings'
import { SharedMap } from './shared-map.js'

const PAGE = 4096

export class DirtyLog {
  readonly #map: SharedMap
  readonly #offset: number
  readonly #bits: number

  /** `fd` may be closed afterwards. */
  constructor(fd: number, sizeBytes: number, offsetBytes: number) {
    this.#offset = offsetBytes
    this.#bits = sizeBytes * 8
    this.#map = new SharedMap(fd, sizeBytes + offsetBytes)
  }

  /** Marks every page that [guestAddress, +lengthBytes) touches; pages beyond the log are the front end's to know of. */
  mark(guestAddress: number, lengthBytes: number): void {
    if (lengthBytes <= 0) return
    const first = Math.floor(guestAddress / PAGE)
    const last = Math.min(Math.floor((guestAddress + lengthBytes - 1) / PAGE), this.#bits - 1)
    if (first <= last) native.orBits(this.#map.address + this.#offset, first, last - first + 1)
  }

  close(): void { this.#map.close() }
}
