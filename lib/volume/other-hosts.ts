/** The other hosts of a volume, as its owner or a former one sees them: who is given up, who is told what, and what nobody needs here any more. */
import { hasMember, sameMember, type Claim } from '../core/claim.js'
import { isSlow, thinElsewhere } from '../core/copies.js'
import type { Epoch } from '../core/units.js'
import { limits } from '../limits.js'
import type { AcceptedPeer } from '../ports/peer.js'
import type { Holder } from '../replica/holder.js'
import type { WantedCopy } from '../replica/log-copier.js'
import type { BaseWatch } from './base-watch.js'
import type { OwnershipDriver } from './ownership-driver.js'

export interface OtherHostsShell {
  readonly holder: Holder
  readonly driver: OwnershipDriver
  readonly bases: BaseWatch
  accepted(host: string): AcceptedPeer | undefined
  /** Hosts with which no connection is allowed any more. */
  cutOff(): readonly string[]
  serving(): boolean
  /** How long this epoch has been served. */
  servedMs(): number
  /** Its claim was renewed a moment ago: a change of it would be made at once. */
  justRenewed(): boolean
  warn(message: string): void
}

export class OtherHosts {
  readonly #shell: OtherHostsShell
  /** The newest claim by another host that the region was compared with. */
  #letGoEpoch = 0

  constructor(shell: OtherHostsShell) { this.#shell = shell }

  get #claim(): Claim | null { return this.#shell.driver.state.claim }

  // --- given up ------------------------------------------------------------------------------------------------------------------

  late(host: string, reason: string): void {
    if (this.#shell.driver.state.late.has(host)) return
    this.#shell.warn(`${host} is left out: ${reason}`)
    this.#shell.driver.dispatch({ type: 'late', host, reason })
  }

  slow(host: string, meanMs: number): void {
    if (isSlow(this.#shell.driver.state, { host })) return
    this.#shell.warn(`${host} confirms a record only after ${Math.round(meanMs)} ms; another host has its copy, if there is one`)
    this.#shell.driver.dispatch({ type: 'slow', host })
  }

  /** Nothing more comes from there, so it is not waited for until it is late. */
  leaveOutCutOff(): void {
    const hosts = this.#shell.serving() ? this.#shell.cutOff() : []
    for (const host of hosts) if (this.#claim!.set.some((m) => m.host === host)) this.late(host, 'revoked; no connection with it is allowed any more')
  }

  // --- told ----------------------------------------------------------------------------------------------------------------------

  /** Hosts that held something under the old claim, or hold something under the new one, learn of the change. */
  tell(claim: Claim, from: Claim | null): void {
    const hosts = new Set([...(from?.set ?? []), ...(from?.inherited ?? []).flatMap((l) => l.holders), ...claim.inherited.flatMap((l) => l.holders)].map((m) => m.host))
    for (const m of claim.set) hosts.delete(m.host)
    for (const host of hosts) this.#shell.accepted(host)?.push({ type: 'claimChanged', claim })
    for (const m of claim.set) if (!sameMember(m, this.#shell.holder.self)) this.tellBase(m.host)
  }

  /** A host that joins the set, or was away, does not know yet what is on the backing. */
  tellBase(host: string): void {
    const { volume, epoch } = this.#claim!
    if ((this.#shell.bases.knownTo(host) ?? 0) < this.#shell.holder.region.volumeState(volume).base) this.pushTrim(host, volume, epoch)
  }

  pushTrim(host: string, volume: string, epoch: Epoch): void {
    const { base, samples } = this.#shell.holder.region.volumeState(volume)
    this.#shell.accepted(host)?.push({ type: 'trim', volume, epoch, base, ...(samples === undefined ? {} : { samples }) })
  }

  // --- logs ----------------------------------------------------------------------------------------------------------------------

  /** Inherited logs that too few hosts in reach have, and this one has not: they are copied while they are not on the backing. */
  wantedCopies(): WantedCopy[] {
    const { holder, driver } = this.#shell, id = this.#claim?.volume
    if (!this.#shell.serving() || id === undefined || this.#shell.servedMs() < limits.copyAfterMs) return []
    const { base } = holder.region.volumeState(id)
    const wanted = thinElsewhere(driver.state).filter((log) => log.start + log.kept > base && !driver.state.damaged.has(log.epoch))
    // As a member says it (`copied`), again and again until the claim does.
    for (const log of wanted) {
      if (this.#shell.justRenewed() && (holder.log(id, log.epoch)?.storedLength ?? 0) >= log.kept) driver.dispatch({ type: 'copied', host: holder.self.host, epoch: log.epoch })
    }
    return wanted.map((log) => ({ volume: id, log }))
  }

  /** A host that reads a claim which does not name what it holds deletes it, whether anybody tells it or not. */
  letGo(): void {
    const claim = this.#claim
    if (claim === null || this.#shell.serving() || claim.epoch <= this.#letGoEpoch || claim.owner.host === this.#shell.holder.self.host) return
    this.#letGoEpoch = claim.epoch
    this.reconcile(claim)
  }

  /** A log that the claim does not name never counts again: of an owner that was taken over, or given up with its loss. */
  reconcile({ volume, epoch, inherited }: Claim): void {
    const { holder } = this.#shell
    holder.reconcile(volume, epoch, inherited.filter((log) => hasMember(log.holders, holder.self)).map((log) => log.epoch))
  }
}
