/**
 * What follows from data in the own region that is not what was written. Where other members have the log too, a claim
 * change leaves it to them; else the region has failed, and nothing of it goes to the backing any more.
 */
import { hasMember } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import type { Holder } from '../replica/holder.js'
import type { OwnershipDriver } from './ownership-driver.js'

export interface RotShell {
  readonly name: string
  readonly holder: Holder
  readonly driver: OwnershipDriver
  /** Nothing more becomes durable here: whoever waits for a base is told. */
  failed(failure: Failure): void
  warn(message: string): void
}

export class Rot {
  readonly #shell: RotShell
  #failure: string | null = null

  constructor(shell: RotShell) { this.#shell = shell }

  /** Why the region takes and gives nothing more; null: it does. */
  get failure(): string | null { return this.#failure }

  /**
   * This host's log of the epoch is not what was written. True: other members have it, and a claim change that leaves
   * this host out of its holders is on its way; from then on it is read, and destaged, from them.
   */
  leave(epoch: Epoch, fact: string): boolean {
    const { holder, driver } = this.#shell, { claim } = driver.state
    if (claim === null) return false
    const holders = epoch === claim.epoch ? claim.set : claim.inherited.find((log) => log.epoch === epoch)?.holders ?? []
    if (!hasMember(holders, holder.self) || holders.length < 2) return false
    if (!driver.state.damaged.has(epoch)) this.#shell.warn(`${fact}; what this host has of epoch ${epoch} is given up, and its other holders are read`)
    driver.dispatch({ type: 'damaged', epoch })
    return true
  }

  /** A guest's read found it, at this byte of the region. */
  found(offsetBytes: number): 'again' | 'wait' | 'fail' {
    const { region } = this.#shell.holder, log = region.logAt(offsetBytes)
    // It was let go of meanwhile: the newest version is elsewhere.
    if (log === undefined || log.volume !== this.#shell.driver.state.claim?.volume) return 'again'
    const fact = `the data at byte ${offsetBytes} of region ${region.path}, epoch ${log.epoch} of volume ${this.#shell.name}, is not what was written`
    if (this.leave(log.epoch, fact)) return 'wait'
    this.failRegion(fact)
    return 'fail'
  }

  failRegion(reason: string): void {
    if (this.#failure !== null) return
    this.#failure = `the region ${this.#shell.holder.region.path} failed (${reason}); writes wait, and nothing is destaged, until another host takes over`
    this.#shell.warn(this.#failure)
    this.#shell.failed(new Failure(EXIT.damaged, this.#failure))
  }
}
