/**
 * The places of payloads in the memory that a front end shares with its back end: two sizes, fixed in number, so that
 * small reads and large destage writes do not take each other's.
 */
import { limits } from '../../limits.js'

export interface SharedBuffer {
  /** Where it is in the client's buffer. */
  readonly offset: number
  readonly lengthBytes: number
}

const { blockdevSmallBytes, blockdevSmallBuffers, blockdevLargeBytes, blockdevLargeBuffers } = limits
export const SHARED_BUFFER_BYTES = blockdevSmallBytes * blockdevSmallBuffers + blockdevLargeBytes * blockdevLargeBuffers

export class SharedBuffers {
  readonly #small = places(0, blockdevSmallBytes, blockdevSmallBuffers)
  readonly #large = places(blockdevSmallBytes * blockdevSmallBuffers, blockdevLargeBytes, blockdevLargeBuffers)

  /** For a payload, or its first part when it is longer than any buffer. Undefined: wait until one is given back. */
  take(payloadBytes: number): SharedBuffer | undefined {
    return (payloadBytes <= blockdevSmallBytes ? this.#small : this.#large).pop()
  }

  give(buffer: SharedBuffer): void {
    (buffer.lengthBytes === blockdevSmallBytes ? this.#small : this.#large).push(buffer)
  }
}

const places = (from: number, lengthBytes: number, count: number): SharedBuffer[] =>
  Array.from({ length: count }, (_, i) => ({ offset: from + i * lengthBytes, lengthBytes }))
