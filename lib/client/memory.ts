/** Memory that a front end shares with its back end: one memfd, mapped here, at a guest address of our choice. */
import { native } from 'vhost-user-ts-bindings'

/** Not 0, and not the address here: a back end that mixes the three up fails at once. */
export const GUEST_BASE = 0x4000_0000

export class SharedMemory {
  readonly fd: number
  readonly lengthBytes: number
  readonly guestAddress = GUEST_BASE
  /** Address in this process: ring addresses are given in these. */
  readonly userAddress: number
  /** Becomes empty with `free`. */
  readonly bytes: Uint8Array
  readonly view: DataView
  #freed = false

  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes
    this.fd = native.memfd('holdfast-client', lengthBytes, true)
    this.userAddress = native.mapShared(this.fd, lengthBytes, 0)
    const buffer = native.viewOf(this.userAddress, lengthBytes)
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
  }

  free(): void {
    if (this.#freed) return
    this.#freed = true
    native.detach(this.bytes.buffer as ArrayBuffer)
    native.unmap(this.userAddress, this.lengthBytes)
    native.closeFd(this.fd)
  }
}
