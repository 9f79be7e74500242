/** Numbers of the vhost-user protocol and of virtio-blk, as far as a block device uses them. */

export const MESSAGE = {
  getFeatures: 1, setFeatures: 2, setOwner: 3, resetOwner: 4, setMemTable: 5, setLogBase: 6, setLogFd: 7, setVringNum: 8, setVringAddr: 9,
  setVringBase: 10, getVringBase: 11, setVringKick: 12, setVringCall: 13, setVringErr: 14, getProtocolFeatures: 15, setProtocolFeatures: 16,
  getQueueNum: 17, setVringEnable: 18, setBackendReqFd: 21, getConfig: 24, setConfig: 25, getInflightFd: 31, setInflightFd: 32,
  resetDevice: 34, getMaxMemSlots: 36, addMemReg: 37, remMemReg: 38,
} as const

/** As they are called here, by number. */
export const MESSAGE_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(MESSAGE).map(([name, id]) => [id, name]))

/** Back end to front end, on the channel of setBackendReqFd. */
export const BACKEND_MESSAGE = { configChange: 2 } as const

export const FLAG = { version: 1, reply: 4, needReply: 8 } as const
export const HEADER_BYTES = 12
/** Largest payload that is a legal message: a config of 256 bytes with its head, or a table of 8 regions. */
export const PAYLOAD_BYTES_MAX = 4096
/** In the u64 of setVringKick, Call and Err. */
export const VRING_INDEX_MASK = 0xff
export const VRING_NO_FD = 0x100

const bit = (n: number): bigint => 1n << BigInt(n)

export const FEATURE = {
  segMax: bit(2), readOnly: bit(5), blkSize: bit(6), flush: bit(9), topology: bit(10), configWce: bit(11), mq: bit(12), discard: bit(13),
  writeZeroes: bit(14), logAll: bit(26), indirect: bit(28), eventIdx: bit(29), protocolFeatures: bit(30), version1: bit(32),
  ringPacked: bit(34),
} as const

export const PROTOCOL_FEATURE = {
  mq: bit(0), logShmfd: bit(1), replyAck: bit(3), backendReq: bit(5), config: bit(9), inflightShmfd: bit(12), resetDevice: bit(13),
  configureMemSlots: bit(15),
} as const

/** A message as it is sent: {u32 request, flags, payload length}, then the payload. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, request, true)
  view.setUint32(4, flags, true)
  view.setUint32(8, payload.length, true)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

/** Reads a u64 that must be a safe integer (addresses and sizes); NaN otherwise, which fails every check. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true)
  return high < 0x20_0000 ? high * 0x1_0000_0000 + view.getUint32(at, true) : NaN
}
