/** Page-aligned memory of our own, as io_uring and O_DIRECT need it. */
import { native } from 'vhost-user-ts-bindings'

export class AlignedMemory {
  readonly lengthBytes: number
  readonly address: number
  /** Becomes empty with `free`. */
  readonly bytes: Uint8Array
  #freed = false

  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes
    this.address = native.mapAnonymous(lengthBytes)
    this.bytes = new Uint8Array(native.viewOf(this.address, lengthBytes))
  }

  /** Detaches first: a stale view throws or reads nothing instead of crashing. Nothing may be in flight on it. */
  free(): void {
    if (this.#freed) return
    this.#freed = true
    native.detach(this.bytes.buffer as ArrayBuffer)
    native.unmap(this.address, this.lengthBytes)
  }
}
