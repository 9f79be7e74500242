/**
 * The owner's claim, renewed again and again: a heartbeat, and a look at the claim (R7). Who cannot renew it for T_fail gives
 * nothing to the backing any more; and nothing to its guest either, unless every copy vouches for it.
 */
import type { Member } from '../core/claim.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { OwnershipDriver } from './ownership-driver.js'

export interface RenewalShell {
  readonly driver: OwnershipDriver
  readonly store: ClaimStore
  readonly self: Member
  /** T_fail. */
  readonly failAfterMs: number
  readonly renewMs: number
  serving(): boolean
  /** There are copies, and every member that has one is there to say that it is not sealed. */
  vouchedFor(): boolean
  /** It was fenced, and is no more. */
  released(): void
  nowMs(): number
  warn(message: string): void
}

export class Renewal {
  readonly #shell: RenewalShell
  #running = false
  #renewedAtMs = 0
  #beats = 0

  constructor(shell: RenewalShell) { this.#shell = shell }

  /** When the last renewal that succeeded was asked for. */
  get renewedAtMs(): number { return this.#renewedAtMs }

  /** Since it was proven that the claim is still this host's; null: it is not. */
  get ageMs(): number | null { return this.#shell.serving() ? this.#agoMs : null }

  get #agoMs(): number { return this.#shell.nowMs() - this.#renewedAtMs }

  get canRenew(): boolean { return this.#agoMs < this.#shell.failAfterMs }

  /** A claim change would be made at once. */
  get fresh(): boolean { return this.#agoMs < this.#shell.renewMs }

  /**
   * Cannot renew, and not every member with a copy is there to say that it is not sealed: acks and reads stop, because another host
   * may have sealed the one that is missing, and have taken over by now (R7).
   */
  get fenced(): boolean { return this.#shell.serving() && !this.canRenew && !this.#shell.vouchedFor() }

  /** The claim was won by a change that was asked for then. */
  won(askedMs: number): void { this.#renewedAtMs = Math.max(this.#renewedAtMs, askedMs) }

  tick(): void {
    const { driver, serving, renewMs } = this.#shell
    if (this.#agoMs >= renewMs / 2 && !this.#running && (serving() || driver.state.phase === 'sealed')) void this.#renew()
  }

  async #renew(): Promise<void> {
    const { driver, store, self, serving, released, nowMs, warn } = this.#shell, startedMs = nowMs(), wasFenced = this.fenced
    this.#running = true
    try {
      if (serving()) await store.beat({ owner: self, epoch: driver.state.claim!.epoch, counter: ++this.#beats })
      await driver.readClaim()
      this.#renewedAtMs = startedMs
      if (wasFenced) released()
    } catch (error) {
      warn(`the claim in ${store.where} cannot be renewed: ${(error as Error).message}`)
    } finally {
      this.#running = false
    }
  }
}
