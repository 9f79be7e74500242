/**
 * Logs checked piece by piece, in the own region and, asked over the network, in those of others. A copy answers for one
 * piece at a time and keeps nothing between two of them: who asks can stop at any time, and sets the pace.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from '../core/failure.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import { limits } from '../limits.js'
import type { LogDamage } from '../ports/control.js'
import type { DialedPeer, Scrub } from '../ports/peer.js'
import { checkPiece, type CheckedPiece, type PieceStart } from '../region/scrub.js'
import type { Holder, SendAnswer } from './holder.js'

/** The records of one log behind `after` up to `to`. */
export interface LogRange { readonly volume: string; readonly epoch: Epoch; readonly after: Won; readonly to: Won }

export interface LogCopy {
  readonly host: string
  check(volume: string, epoch: Epoch, from: PieceStart): Promise<CheckedPiece>
}

/** The copy here. One piece at a time, whoever asks: guests share the device with one reader, not with several. */
export class LocalCopy implements LogCopy {
  readonly host: string
  readonly #holder: Holder
  #turn: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(holder: Holder) {
    this.#holder = holder
    this.host = holder.self.host
  }

  check(volume: string, epoch: Epoch, from: PieceStart): Promise<CheckedPiece> {
    const piece = this.#turn.then(() => {
      if (this.#stopped) throw new Failure(EXIT.unreachable, `${this.host} stops`)
      return checkPiece(this.#holder.region, volume, this.#holder.log(volume, epoch), from)
    })
    this.#turn = piece.catch(() => undefined)
    return piece
  }

  /** For another host. */
  async answer({ volume, epoch, ...from }: Scrub, answer: SendAnswer): Promise<void> {
    try {
      const { damage, ...piece } = await this.check(volume, epoch, from)
      answer({ type: 'scrubbed', ...piece, damage: damage === null ? [] : [{ ...damage, offsetBytes: damage.offsetBytes ?? 0 }] })
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    }
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#turn
  }
}

export class RemoteCopy implements LogCopy {
  readonly host: string
  readonly #peer: () => DialedPeer | undefined

  constructor(host: string, peer: () => DialedPeer | undefined) {
    this.host = host
    this.#peer = peer
  }

  async check(volume: string, epoch: Epoch, { after, to, digest, previous }: PieceStart): Promise<CheckedPiece> {
    const peer = this.#peer()
    if (peer === undefined) throw new Failure(EXIT.unreachable, `${this.host} is no peer of this host`)
    const { message } = await peer.request({ type: 'scrub', volume, epoch, after, to, digest, previous }, limits.scrubAnswerMs)
    if (message.type === 'problem') throw new Failure(EXIT.unreachable, `${this.host}: ${message.reason}`)
    if (message.type !== 'scrubbed') throw new Failure(EXIT.unreachable, `${this.host} answered a scrub with ${message.type}`)
    const [damage] = message.damage
    // A piece that goes back would be asked for without an end.
    if (message.next < after) throw new Failure(EXIT.unreachable, `${this.host} answered for other records than it was asked about`)
    return { ...message, damage: damage === undefined ? null : { ...damage, offsetBytes: damage.offsetBytes === 0 ? null : damage.offsetBytes } }
  }
}

/** So many bytes a second at most, counted from the first; and the end of it all when nobody wants the result any more. */
export class Pace {
  readonly #bytesPerSecond: number
  readonly #signal: AbortSignal
  #freeAtMs = performance.now()

  constructor(bytesPerSecond: number, signal: AbortSignal) {
    this.#bytesPerSecond = bytesPerSecond
    this.#signal = signal
  }

  /** Throws Failure(unsafe) when it was called off. */
  async spent(bytes: number): Promise<void> {
    this.#freeAtMs = Math.max(this.#freeAtMs, performance.now() - 1000) + (bytes / this.#bytesPerSecond) * 1000
    const waitMs = this.#freeAtMs - performance.now()
    await (waitMs > 0 ? sleep(waitMs, undefined, { signal: this.#signal }).catch(() => undefined) : undefined)
    if (this.#signal.aborted) throw new Failure(EXIT.unsafe, 'called off before it was done')
  }
}

export interface LogReport {
  readonly records: number
  readonly bytes: number
  readonly damage: readonly LogDamage[]
  /** Some of it, or all, went to the backing before it was its turn. */
  readonly trimmed: boolean
  /** Why not all of it could be looked at; null: it was. */
  readonly problem: string | null
}

export interface ScrubOptions {
  readonly pace: Pace
  /** The claim says that the copy has all of it: a log that is not there was not trimmed but is missing. */
  readonly mustHave: boolean
  /** Is this record still of use to anybody? Who asks may know of a base that the copy has not heard of. */
  counts(record: Won): boolean
  looked(bytes: number, damage: LogDamage | null): void
}

/** All of a range on one copy. Goes on behind what is damaged, up to a bound. */
export async function scrubLog(copy: LogCopy, range: LogRange, { pace, mustHave, counts, looked }: ScrubOptions): Promise<LogReport> {
  const damage: LogDamage[] = []
  let after = range.after, records = 0, bytes = 0, trimmed = false, from = { digest: 0, previous: 0 }
  const report = (problem: string | null): LogReport => ({ records, bytes, damage, trimmed, problem })
  while (after < range.to) {
    let piece: CheckedPiece
    try {
      piece = await copy.check(range.volume, range.epoch, { after, to: range.to, ...from })
    } catch (error) {
      if (error instanceof Failure) return report(error.message)
      throw error
    }
    const gone = piece.stored === 0, found = piece.damage !== null && counts(piece.damage.record) ? piece.damage : null
    trimmed ||= piece.base > after || (gone && (!mustHave || after > range.after))
    records += piece.records
    bytes += piece.bytes
    if (found !== null) damage.push(found)
    looked(piece.bytes, found)
    await pace.spent(piece.bytes)
    if (gone) return report(trimmed ? null : `${copy.host} has no log of epoch ${range.epoch}`)
    if (damage.length >= limits.scrubDamagesMax) return report(`more than ${damage.length - 1} records are damaged; the rest was not looked at`)
    if (piece.next === after && piece.base <= after) return report(`${copy.host} has its records only up to ${piece.stored}, not up to ${range.to}`)
    after = toWon(Math.max(piece.next, Math.min(piece.base, range.to)))
    from = { digest: piece.digest, previous: piece.previous }
  }
  return report(null)
}
