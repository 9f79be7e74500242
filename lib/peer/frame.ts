/**
 * One WebSocket message: u32 header length, header (MessagePack: [request id or 0, message]), raw bytes. Plain maps
 * instead of msgpackr's learned records: a decoder then never depends on what an earlier message taught it.
 */
import { Packr } from 'msgpackr'
import { limits } from '../limits.js'
import type { Message } from '../ports/peer.js'
import { validate } from './messages.js'

const packr = new Packr({ useRecords: false, int64AsType: 'number' })

export interface Frame { readonly id: number; readonly message: Message; readonly raw: Uint8Array }

/** The one copy of raw bytes on the way out: staging memory is free again as soon as this returns. */
export function encodeFrame(id: number, message: Message, raw: readonly Uint8Array[] = []): Buffer {
  const header = packr.pack([id, message])
  let length = 4 + header.length
  for (const part of raw) length += part.length
  const frame = Buffer.allocUnsafe(length)
  frame.writeUInt32LE(header.length, 0)
  frame.set(header, 4)
  let at = 4 + header.length
  for (const part of raw) {
    frame.set(part, at)
    at += part.length
  }
  return frame
}

/** The frame, or why it is none. */
export function decodeFrame(bytes: Buffer): Frame | string {
  if (bytes.length < 4) return 'a frame without a header'
  const headerBytes = bytes.readUInt32LE(0)
  if (headerBytes > bytes.length - 4 || headerBytes > limits.frameBytesMax) return 'a header longer than its frame'
  let header: unknown
  try {
    header = packr.unpack(bytes.subarray(4, 4 + headerBytes))
  } catch {
    return 'a header that is not MessagePack'
  }
  if (!Array.isArray(header) || header.length !== 2 || !Number.isSafeInteger(header[0]) || (header[0] as number) < 0) return 'a header of another shape'
  const message = validate(header[1])
  if (typeof message === 'string') return message
  return { id: header[0] as number, message, raw: bytes.subarray(4 + headerBytes) }
}
