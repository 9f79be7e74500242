/** Fields of message payloads; what makes no sense ends the connection. */
import { ProtocolError } from './connection.js'
import { VRING_NO_FD, readU64 } from './protocol.js'

export interface RegionSpec {
  readonly guestAddress: number
  readonly sizeBytes: number
  /** The front end's own address of the region: ring addresses are given in these. */
  readonly userAddress: number
  readonly offsetBytes: number
}

/** The payload, when it has at least so many bytes. */
export function need(payload: DataView, bytes: number): DataView {
  if (payload.byteLength < bytes) throw new ProtocolError(`a payload of ${payload.byteLength} bytes where ${bytes} are needed`)
  return payload
}

export const u64 = (payload: DataView): bigint => need(payload, 8).getBigUint64(0, true)

/** The message's descriptor, now the caller's; -1 when it says that there is none. */
export function takeFd(payload: DataView, fds: number[]): number {
  if ((payload.getUint32(0, true) & VRING_NO_FD) !== 0) return -1
  const fd = fds.shift()
  if (fd === undefined) throw new ProtocolError('a ring descriptor is missing')
  return fd
}

/** {u64 guest address, size, front-end address, offset in the file} at `at`. */
export function regionSpec(payload: DataView, at: number): RegionSpec {
  const spec = {
    guestAddress: readU64(payload, at), sizeBytes: readU64(payload, at + 8), userAddress: readU64(payload, at + 16), offsetBytes: readU64(payload, at + 24),
  }
  if (!(spec.guestAddress >= 0) || !(spec.sizeBytes > 0) || !(spec.userAddress >= 0) || !(spec.offsetBytes >= 0) ||
      !Number.isSafeInteger(spec.guestAddress + spec.sizeBytes) || !Number.isSafeInteger(spec.userAddress + spec.sizeBytes)) {
    throw new ProtocolError('a memory region that makes no sense')
  }
  return spec
}
