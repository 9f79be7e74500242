/**
 * Copies of one log compared: each checks its own bytes and says the digest of its headers, so records never travel.
 * What is compared ends at a won that all of them must have, so records that are appended meanwhile confuse nobody.
 */
import { Failure } from '../core/failure.js'
import { won as toWon, type Won } from '../core/units.js'
import type { CopyDifference } from '../ports/control.js'
import type { CheckedPiece } from '../region/scrub.js'
import type { LogCopy, LogRange, Pace } from './scrub.js'

export interface Comparison {
  /** Compared on all copies that are left. */
  readonly records: number
  readonly bytes: number
  readonly differences: readonly CopyDifference[]
  readonly problems: readonly { readonly host: string; readonly what: string }[]
}

/** What one copy says about a range that another one has looked at as one piece. */
async function checkAll(copy: LogCopy, { volume, epoch, after, to }: LogRange): Promise<CheckedPiece> {
  let at = after, records = 0, bytes = 0, from = { digest: 0, previous: 0 }
  for (;;) {
    const piece = await copy.check(volume, epoch, { after: at, to, ...from })
    records += piece.records
    bytes += piece.bytes
    if (piece.next >= to || piece.next === at || piece.damage !== null || piece.base > after || piece.stored === 0) return { ...piece, records, bytes }
    at = piece.next
    from = { digest: piece.digest, previous: piece.previous }
  }
}

/** The first record in the range in which two copies differ; null: it was trimmed meanwhile. */
async function firstDifference(a: LogCopy, b: LogCopy, range: LogRange): Promise<Won | null> {
  let same: number = range.after, differs: number = range.to
  while (differs - same > 1) {
    const half = { ...range, after: toWon(same), to: toWon(Math.floor((same + differs) / 2)) }
    const [left, right] = [await checkAll(a, half), await checkAll(b, half)]
    if (left.base > half.after || right.base > half.after) return null
    if (left.digest === right.digest && left.damage === null && right.damage === null) same = half.to
    else differs = half.to
  }
  return toWon(differs)
}

export class CopyComparison {
  readonly #range: LogRange
  readonly #live: LogCopy[]
  readonly #differences: CopyDifference[] = []
  readonly #problems: { host: string; what: string }[] = []
  #records = 0
  #bytes = 0

  /** The first copy is what the others are compared with. */
  constructor(copies: readonly LogCopy[], range: LogRange) {
    this.#live = [...copies]
    this.#range = range
  }

  async run(pace: Pace, looked: (bytes: number) => void): Promise<Comparison> {
    let after = this.#range.after
    while (after < this.#range.to && this.#live.length > 0) {
      const first = this.#live[0]!, range = { ...this.#range, after }
      const piece = await this.#ask(first, () => first.check(range.volume, range.epoch, { after, to: range.to, digest: 0, previous: 0 }))
      if (piece === null) continue
      if (piece.base > after) { after = toWon(Math.min(piece.base, range.to)); continue }
      if (this.#isShort(first, piece, after) || this.#isDamaged(first, piece)) continue
      const base = await this.#compare(first, piece, { ...range, to: piece.next })
      looked(piece.bytes)
      await pace.spent(piece.bytes)
      // Trimmed there, and soon here: what is left is compared once more.
      if (base > after) { after = toWon(Math.min(base, piece.next)); continue }
      this.#records += piece.records
      this.#bytes += piece.bytes
      after = piece.next
    }
    return { records: this.#records, bytes: this.#bytes, differences: this.#differences, problems: this.#problems }
  }

  /** Returns the highest base that one of them has. */
  async #compare(first: LogCopy, piece: CheckedPiece, range: LogRange): Promise<Won> {
    let base = range.after
    for (const copy of this.#live.slice(1)) {
      const other = await this.#ask(copy, () => checkAll(copy, range))
      if (other === null) continue
      if (other.base > range.after) { base = toWon(Math.max(base, other.base)); continue }
      if (this.#isShort(copy, other, range.after)) continue
      if (other.damage === null && other.next >= range.to && other.digest === piece.digest) continue
      if (other.damage === null && other.next < range.to) { this.#differ(copy, null, null, `it has its records only up to ${other.stored}`); continue }
      // Of two that are both whole and not the same, nobody can say which one is right.
      const record = await this.#ask(copy, () => firstDifference(first, copy, range))
      if (record === null) continue
      if (other.damage !== null && record >= other.damage.record) this.#isDamaged(copy, other)
      else this.#differ(copy, record, null, `its record is whole, but another one than on ${first.host}`)
    }
    return base
  }

  async #ask<T>(copy: LogCopy, question: () => Promise<T>): Promise<T | null> {
    try {
      return await question()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      this.#leaveOut(copy)
      this.#problems.push({ host: copy.host, what: error.message })
      return null
    }
  }

  #isShort(copy: LogCopy, { next, stored, damage }: CheckedPiece, after: Won): boolean {
    if (next > after || damage !== null) return false
    this.#differ(copy, null, null, stored === 0 ? `it has no log of epoch ${this.#range.epoch}` : `it has its records only up to ${stored}`)
    return true
  }

  #isDamaged(copy: LogCopy, { damage }: CheckedPiece): boolean {
    if (damage === null) return false
    this.#differ(copy, damage.record, damage.offsetBytes, damage.what)
    return true
  }

  #differ(copy: LogCopy, record: Won | null, offsetBytes: number | null, what: string): void {
    this.#leaveOut(copy)
    this.#differences.push({ host: copy.host, epoch: this.#range.epoch, record, offsetBytes, what })
  }

  #leaveOut(copy: LogCopy): void {
    const at = this.#live.indexOf(copy)
    if (at >= 0) this.#live.splice(at, 1)
  }
}
