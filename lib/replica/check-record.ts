/** A record that came over the network is what it should be, unharmed (the network's checksums are too weak for storage: H61). */
import { parseHeader, verifyPayload, type BlockVisitor, type RecordHeader } from '../core/record.js'
import type { Epoch, Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'

export const RECORD_BYTES_MAX = limits.recordHeaderBytes + limits.recordPayloadBytesMax

/** The log that the record goes on with. */
export interface LogEndHere { readonly volume: string; readonly epoch: Epoch; readonly nonce: string; readonly lastHeaderCrc: number }

/** `raw`: the record and nothing else. `sums` hears of its blocks before it is known to be good. */
export function checkRecord(raw: Uint8Array, won: Won, log: LogEndHere, sums: BlockVisitor): RecordHeader | { readonly problem: string } {
  if (raw.length < limits.recordHeaderBytes || raw.length > RECORD_BYTES_MAX || raw.length % 4096 !== 0) return { problem: `a record of ${raw.length} bytes is out of range` }
  const header = parseHeader(raw, crc)
  if ('problem' in header) return header
  if (header.won !== won || header.epoch !== log.epoch || header.volume !== log.volume || header.nonce !== log.nonce) {
    return { problem: 'the record belongs to another log' }
  }
  if (header.lengthBytes !== raw.length) return { problem: 'the record is longer or shorter than its frame' }
  if (header.previousHeaderCrc !== log.lastHeaderCrc) return { problem: 'the record does not follow the one before it' }
  return verifyPayload(raw, header, crc, sums) ? header : { problem: 'a payload does not match its checksum' }
}
