/**
 * A piece of a log read back and checked: headers, their chain, data. Small, and with a pin of its own: a pin that lasted
 * for a whole region would keep every segment that is freed meanwhile from being used again, until the region is full.
 */
import { EXIT, Failure } from '../core/failure.js'
import { won as toWon, type Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { IoError } from '../io/operation.js'
import { limits } from '../limits.js'
import type { Region, RegionLog } from '../ports/region.js'
import { RecordDamage } from './verify-records.js'

export interface PieceStart {
  /** Records behind this won, up to `to`; the piece may end before. */
  readonly after: Won
  readonly to: Won
  /** Of what was checked before; 0 at the beginning. */
  readonly digest: number
  /** CRC of the header before; 0: not known. */
  readonly previous: number
}

export interface DamagedRecord {
  readonly record: Won
  /** In the region of the host that has it; null: not known. */
  readonly offsetBytes: number | null
  readonly what: string
}

export interface CheckedPiece {
  /** Everything up to here was looked at, or does not count any more. */
  readonly next: Won
  readonly records: number
  readonly bytes: number
  /** CRC32C over the CRCs of the headers, which cover everything that a record is: the same bytes, the same digest. */
  readonly digest: number
  readonly previous: number
  /** The piece ends with it. */
  readonly damage: DamagedRecord | null
  /** What lies up to here is on the backing, and counts no more. */
  readonly base: Won
  /** The log's last record here; 0 when there is no such log. */
  readonly stored: Won
}

class Enough extends Error {}

export async function checkPiece(region: Region, volume: string, log: RegionLog | undefined, from: PieceStart): Promise<CheckedPiece> {
  const base = (): Won => region.volumeState(volume).base
  if (log === undefined) return { next: from.after, records: 0, bytes: 0, digest: from.digest, previous: from.previous, damage: null, base: base(), stored: toWon(0) }
  const first = toWon(Math.max(from.after, base(), log.start)), stored = toWon(log.start + log.storedLength), end = Math.min(from.to, stored)
  const piece = new Piece(from, first)
  const pin = region.pinReads()
  let damage: DamagedRecord | null = null
  try {
    if (first < end) {
      await log.verify(first, toWon(end), (header, offsetBytes) => {
        piece.add(header.won, header.headerCrc, header.previousHeaderCrc, header.lengthBytes, offsetBytes)
        if (piece.bytes >= limits.scrubPieceBytes && header.won < end) throw new Enough()
      })
    }
  } catch (error) {
    if (!(error instanceof Enough)) damage = piece.damaged(error, from.to)
  } finally {
    region.unpinReads(pin)
  }
  const kept = region.logs(volume).includes(log)
  // A record that went to the backing meanwhile, or a log that nobody wants any more, is nobody's loss.
  if (damage !== null && (!kept || damage.record <= base())) damage = null
  return { ...piece.result, damage, base: base(), stored: kept ? stored : toWon(0) }
}

/** What was found so far. */
class Piece {
  next: Won
  records = 0
  bytes = 0
  #digest: number
  #previous: number
  readonly #word = new Uint8Array(4)

  constructor(from: PieceStart, first: Won) {
    this.next = first
    this.#digest = from.digest
    // What was skipped is not the record before.
    this.#previous = first === from.after ? from.previous : 0
  }

  add(won: Won, headerCrc: number, previousHeaderCrc: number, lengthBytes: number, offsetBytes: number): void {
    const follows = this.#previous === 0 || previousHeaderCrc === this.#previous
    this.#previous = headerCrc
    if (!follows) throw new RecordDamage(won, offsetBytes, 'it does not follow the record before it', '')
    new DataView(this.#word.buffer).setUint32(0, headerCrc, true)
    this.#digest = crc(this.#word, this.#digest)
    this.next = won
    this.records++
    this.bytes += lengthBytes
  }

  /** Goes on behind what is damaged, or up to `to` when it is not known where that would be. */
  damaged(error: unknown, to: Won): DamagedRecord {
    const expected = toWon(this.next + 1)
    if (error instanceof RecordDamage && error.record === expected) {
      this.next = expected
      this.#previous = 0
      return { record: error.record, offsetBytes: error.offsetBytes, what: error.what }
    }
    this.next = to
    const rest = 'other records of this log were not checked'
    if (error instanceof RecordDamage) return { record: error.record, offsetBytes: error.offsetBytes, what: `${error.what}; ${rest}` }
    if (error instanceof IoError) return { record: expected, offsetBytes: null, what: `it, or one soon after it, cannot be read (${error.message}); ${rest}` }
    throw error instanceof Error ? error : new Failure(EXIT.internal, String(error))
  }

  get result() {
    return { next: this.next, records: this.records, bytes: this.bytes, digest: this.#digest, previous: this.#previous }
  }
}
