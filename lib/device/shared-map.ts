/** A front end's file, mapped from its start: one that is truncated while it is used poisons the map, and not the process. */
import { native } from 'vhost-user-ts-bindings'

export class SharedMap {
  readonly address: number
  readonly #lengthBytes: number
  readonly #watch: number

  /** `fd` may be closed afterwards. */
  constructor(fd: number, lengthBytes: number) {
    this.#lengthBytes = lengthBytes
    this.address = native.mapShared(fd, lengthBytes, 0)
    try {
      this.#watch = native.watchRange(this.address, lengthBytes)
    } catch (error) {
      native.unmap(this.address, lengthBytes)
      throw error
    }
  }

  /** What was read since it was truncated is zeros. */
  get poisoned(): boolean { return native.isPoisoned(this.#watch) }

  /** Views on it have been detached. */
  close(): void {
    native.unwatchRange(this.#watch)
    native.unmap(this.address, this.#lengthBytes)
  }
}
