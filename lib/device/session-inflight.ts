/** The inflight region of one session: made here when the front end asks for one, or taken over from an earlier connection. */
import { native } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import { ProtocolError } from '../vhost/connection.js'
import { need } from '../vhost/payload.js'
import { readU64 } from '../vhost/protocol.js'
import { InflightRegion, inflightBytes } from './inflight.js'

export class SessionInflight {
  #region: InflightRegion | null = null
  #fd = -1

  get region(): InflightRegion | null { return this.#region }

  /** GET_INFLIGHT_FD: the answer and its descriptor, which stays ours. */
  make(payload: DataView, queuesMax: number): { readonly reply: Uint8Array; readonly fd: number } {
    const queues = need(payload, 20).getUint16(16, true), size = payload.getUint16(18, true)
    if (queues === 0 || queues > queuesMax || size === 0 || size > limits.queueSizeMax) throw new ProtocolError(`an inflight region for ${queues} queues of ${size}`)
    const bytes = inflightBytes(queues, size)
    const fd = native.memfd('holdfast-inflight', bytes, true)
    this.#use(fd, bytes, 0, queues, size)
    // QEMU's structure is padded to 24 bytes, others send 20: each gets the size it asked with.
    const reply = new Uint8Array(payload.byteLength)
    const view = new DataView(reply.buffer)
    view.setBigUint64(0, BigInt(bytes), true)
    view.setUint16(16, queues, true)
    view.setUint16(18, size, true)
    return { reply, fd }
  }

  /** SET_INFLIGHT_FD. */
  take(payload: DataView, fds: number[]): void {
    const bytes = readU64(need(payload, 20), 0), offset = readU64(payload, 8)
    const queues = payload.getUint16(16, true), size = payload.getUint16(18, true)
    if (fds.length === 0 || !(bytes > 0) || !(offset >= 0) || size === 0 || size > limits.queueSizeMax) throw new ProtocolError('an inflight region that makes no sense')
    this.#use(fds.shift()!, bytes, offset, queues, size)
  }

  #use(fd: number, bytes: number, offset: number, queues: number, size: number): void {
    this.close()
    this.#fd = fd
    try {
      this.#region = new InflightRegion(fd, bytes, offset, queues, size)
    } catch (error) {
      throw new ProtocolError(`the inflight region cannot be mapped: ${(error as Error).message}`)
    }
  }

  close(): void {
    this.#region?.close()
    if (this.#fd >= 0) native.closeFd(this.#fd)
    this.#region = null
    this.#fd = -1
  }
}
