/** What the owner appends to in one epoch: its claim, its log in the own region, and the ledger of who has what. */
import { AckLedger } from '../core/ack-ledger.js'
import { sameMember, type Claim, type Member } from '../core/claim.js'
import { epoch as toEpoch, won, type Won } from '../core/units.js'
import type { RegionLog } from '../ports/region.js'

export class EpochLog {
  readonly claim: Claim
  readonly log: RegionLog
  readonly ledger: AckLedger
  readonly self: number
  /**
   * Won of the last record that is power-safe on every member; -1: not even what earlier epochs acknowledged is known
   * to be, so the first guest flush of an epoch always goes out.
   */
  #flushed = -1
  /** Records of this epoch up to here were each durable when they were stored. */
  #durable: number

  constructor(claim: Claim, log: RegionLog, self: Member) {
    this.claim = claim
    this.log = log
    this.ledger = new AckLedger(claim.set)
    this.#durable = claim.start
    this.self = claim.set.findIndex((m) => sameMember(m, self))
  }

  get flushed(): number { return this.#flushed }

  /** A flush that all members took part in. */
  flushedTo(won: Won): void {
    this.#flushed = Math.max(this.#flushed, won)
    this.#durable = Math.max(this.#durable, won)
  }

  /** Record `won` was acknowledged, and each member had made it durable. What lies before it may not be. */
  stored(won: Won): void {
    if (won === this.#flushed + 1) this.#flushed = won
    if (won === this.#durable + 1) this.#durable = won
  }

  /** Every record of this epoch up to here is power-safe on every member: what the next record vouches for (H4). */
  get powerSafe(): Won { return won(Math.max(this.#flushed, this.#durable)) }

  get epoch() { return toEpoch(this.claim.epoch) }
  get start(): Won { return this.claim.start }
  get ackedWon(): Won { return won(this.claim.start + this.ledger.acked) }
  get appendedWon(): Won { return won(this.claim.start + this.ledger.appended) }
}
