/**
 * The second way out when the backing is not what the dirty data belongs to (H64): an operator gives the dirty data up,
 * and the claim says so for ever.
 *
 * In this order, because the process may end at any point:
 *   journal gone, claim not:   the image is refused as before. The journal was of a cut of what is to be given up, and must
 *                              not be there to be applied to an image that it does not belong to.
 *   claim changed, not served: the next start takes over from a claim without inherited logs, and deletes those it has.
 */
import { randomBytes } from 'node:crypto'
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { giveUpDirty } from '../core/transition.js'
import type { ClaimStore, SwapOutcome } from '../ports/claim-store.js'
import type { CutJournal } from '../ports/io.js'
import type { BackingCheck } from './backing-check.js'
import type { OwnershipDriver } from './ownership-driver.js'

export interface DiscardShell {
  readonly name: string
  readonly driver: OwnershipDriver
  readonly check: BackingCheck
  readonly store: ClaimStore
  readonly journal: CutJournal | null
  dirtyBytes(): number
  /** A host that holds a log learns of the claim that names it no more. */
  tell(host: string, claim: Claim): void
  warn(message: string): void
}

/** Resolves when it is in the claim; the takeover that follows serves the image as it is. Throws Failure(unsafe). */
export async function discardDirty(shell: DiscardShell): Promise<{ readonly epoch: number; readonly lostBytes: number }> {
  const { name, driver, check, store, journal } = shell, { claim, phase } = driver.state
  if (phase !== 'failed' || check.refused === null || claim === null) {
    throw new Failure(EXIT.unsafe, `volume ${name} is not refused because of its image, so its dirty data belongs to it; ` +
      '"holdfast status" says how it is (nothing was changed)')
  }
  const lostBytes = shell.dirtyBytes()
  await journal?.remove()
  const next = giveUpDirty(claim, randomBytes(16).toString('hex'), `${claim.owner.host}: ${check.refused}`)
  if (await confirmed(store, next, await store.compareAndSwap(claim.epoch, next)) === 'lost') {
    throw new Failure(EXIT.unsafe, `another host changed the claim of volume ${name} meanwhile; look at "holdfast status" there (the claim was not changed here)`)
  }
  shell.warn(`${lostBytes} bytes of dirty data of volume ${name} are given up, as an operator accepted at epoch ${claim.epoch}; its image counts as it is`)
  for (const host of new Set(claim.inherited.flatMap((log) => log.holders.map((m) => m.host)))) shell.tell(host, next)
  driver.dispatch({ type: 'revive' })
  return { epoch: claim.epoch, lostBytes }
}

async function confirmed(store: ClaimStore, next: Claim, outcome: SwapOutcome): Promise<'won' | 'lost'> {
  if (outcome !== 'unknown') return outcome
  return (await store.read())?.nonce === next.nonce ? 'won' : 'lost'
}
