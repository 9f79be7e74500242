/**
 * Which records make up the disk: from the base on, one after the other, each from wherever there is a good copy. The
 * chain ends before the first record of which there is none; what lies behind is not used, because a disk with a hole
 * in its history is one that the guest never had.
 */
import type { Claim } from '../core/claim.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import type { RecordList } from '../region/record-list.js'
import type { LogCopies } from './copies.js'

/** Records of one epoch that count. */
export interface Span {
  readonly epoch: Epoch
  /** Null where only the epoch is known. */
  readonly nonce: string | null
  readonly start: Won
  readonly fromWon: Won
  /** Infinity for an epoch that nothing says the end of. */
  readonly toWon: number
}

/** Neighbours in one list. */
export interface Piece {
  readonly region: number
  readonly epoch: Epoch
  readonly list: RecordList
  readonly first: number
  count: number
}

export interface Missing {
  readonly fromWon: Won
  /** Null where nobody knows how many there were. */
  readonly toWon: Won | null
  readonly reason: string
}

export interface Chain {
  readonly pieces: Piece[]
  readonly lastWon: Won
  readonly missing: Missing | null
  readonly endSector: number
  /** Good records behind the end that nothing proves to have been safe. */
  readonly unprovedBehind: number
}

/** What the claim says of the present and of older epochs. */
export function spansOfClaim(claim: Claim, base: Won): Span[] {
  const older = claim.inherited.filter((log) => log.start + log.kept > base).map((log): Span =>
    ({ epoch: log.epoch, nonce: null, start: log.start, fromWon: toWon(Math.max(base, log.start) + 1), toWon: log.start + log.kept }))
  if (claim.released === true) return older
  return [...older, { epoch: claim.epoch, nonce: claim.nonce, start: claim.start, fromWon: toWon(Math.max(base, claim.start) + 1), toWon: Infinity }]
}

/** Without a claim: an epoch's log was kept as far as the start of the next one that is known. */
export function spansOfLogs(logs: readonly LogCopies[], base: Won): Span[] {
  const epochs = new Map(logs.map((log) => [log.epoch, log]))
  return [...epochs.values()].map(({ epoch, start }): Span => {
    const kept = logs.filter((later) => later.epoch > epoch).reduce((least, later) => Math.min(least, later.start), Infinity)
    return { epoch, nonce: null, start, fromWon: toWon(Math.max(base, start) + 1), toWon: kept }
  }).filter((span) => span.toWon >= span.fromWon)
}

export function buildChain(logs: readonly LogCopies[], spans: readonly Span[], base: Won): Chain {
  const pieces: Piece[] = []
  let last = base, missing: Missing | null = null, endSector = 0, unprovedBehind = 0
  for (const span of spans) {
    if (span.fromWon > last + 1) {
      missing = { fromWon: toWon(last + 1), toWon: toWon(span.fromWon - 1), reason: `no log that holds them is in any of the regions, and epoch ${span.epoch} begins behind them` }
      break
    }
    const log = logOf(logs, span)
    last = log === null ? last : follow(log, span, last, pieces)
    endSector = Math.max(endSector, log?.endSector ?? 0)
    if (last === span.toWon) continue
    const proved = Number.isFinite(span.toWon) ? span.toWon : log?.vouchedWon ?? 0
    if (proved > last) missing = { fromWon: toWon(last + 1), toWon: toWon(proved), reason: reasonOf(log, span, last) }
    else unprovedBehind = Math.max(0, (log?.lastWon ?? 0) - last)
    break
  }
  return { pieces, lastWon: toWon(last), missing, endSector, unprovedBehind }
}

/** Of several logs of one epoch (claims that were put back from a backup) the one that goes on furthest. */
function logOf(logs: readonly LogCopies[], span: Span): LogCopies | null {
  const found = logs.filter((log) => log.epoch === span.epoch && (span.nonce === null || log.nonce === span.nonce))
  return found.reduce<LogCopies | null>((best, log) => (best === null || log.lastWon > best.lastWon ? log : best), null)
}

function reasonOf(log: LogCopies | null, span: Span, last: number): string {
  if (log === null) return `no log of epoch ${span.epoch} is in any of the regions`
  return `no region has a good copy of record ${last + 1} of epoch ${span.epoch}` +
    (Number.isFinite(span.toWon) ? ', which was kept at a later change of ownership' : `, and a later record proves that it was stored up to ${log.vouchedWon}`)
}

/** Takes records as long as there is a next one; returns the last. */
function follow(log: LogCopies, span: Span, from: Won, pieces: Piece[]): Won {
  let last = from, previousCrc = span.fromWon === span.start + 1 ? 0 : null, region = pieces.at(-1)?.region ?? -1
  while (last < span.toWon) {
    const copy = log.copyOf(toWon(last + 1), previousCrc, region)
    if (copy === null) break
    const piece = pieces.at(-1)
    if (piece?.list === copy.list && piece.first + piece.count === copy.at) piece.count++
    else pieces.push({ region: copy.region, epoch: log.epoch, list: copy.list, first: copy.at, count: 1 })
    last = copy.record.won
    previousCrc = copy.record.headerCrc
    region = copy.region
  }
  return last
}
