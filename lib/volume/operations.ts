/** What operators ask of a volume that is served here: flush, freeze and thaw, another mode, another size. */
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../core/assert.js'
import type { Claim, ClaimMode } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { degradedReason, mustLetGo, needsExemption, possibleMode } from '../core/copies.js'
import type { Won } from '../core/units.js'
import { limits } from '../limits.js'
import type { Backing } from '../ports/io.js'
import type { Region } from '../ports/region.js'
import type { BaseWatch } from './base-watch.js'
import { Hold } from './hold.js'
import type { OwnershipDriver } from './ownership-driver.js'
import type { VolumeIndex } from './volume-index.js'

export interface OperationsShell {
  readonly name: string
  readonly region: Region
  readonly backing: Backing
  readonly index: VolumeIndex
  readonly bases: BaseWatch
  readonly driver: OwnershipDriver
  /** What is acknowledged; null when this host does not serve the volume. */
  acked(): Won | null
  /** What is acknowledged becomes a cut of its own. */
  freeze(): void
  base(): Won
  /** Why the own region takes and gives nothing more; null: it does. */
  failed(): string | null
  /** A guest's write found no room. */
  guestWaits(): boolean
  /** Why acks wait for the backing; null: they do not. */
  acksWait(): string | null
  /** Whether a cut is due is to be looked at again. */
  reconsider(): void
  nowMs(): number
  warn(message: string): void
}

export class Operations {
  readonly #shell: OperationsShell
  #hold: Hold | null = null
  #flushesWanted = 0
  #lettingGo = false

  constructor(shell: OperationsShell) { this.#shell = shell }

  /** Somebody waits for a cut. */
  get cutWanted(): boolean { return this.#flushesWanted > 0 }
  /** No cut may go beyond this won; null: there is no such limit. */
  get heldAt(): Won | null { return this.#hold?.holds === true ? this.#hold.target : null }
  get hold(): Hold | null { return this.#hold }

  #mustServe(): Won {
    const acked = this.#shell.acked()
    if (acked !== null) return acked
    throw new Failure(EXIT.unsafe, `volume ${this.#shell.name} is not owned by this host (${this.#claim?.owner.host ?? 'nobody'} owns it); ask there`)
  }

  get #claim(): Claim | null { return this.#shell.driver.state.claim }
  #isFrozen(): Failure { return new Failure(EXIT.unsafe, `volume ${this.#shell.name} is frozen; "holdfast volume thaw ${this.#shell.name}" first`) }

  /** Everything acknowledged before the call, or up to `upTo`, is on the backing, and every member knows. */
  async flush(upTo: Won | null = null): Promise<Won> {
    const acked = this.#mustServe()
    if (upTo !== null && upTo > acked) throw new Failure(EXIT.usage, `volume ${this.#shell.name}: nothing is acknowledged beyond write ${acked}`)
    if (this.#hold !== null && (upTo ?? acked) > this.#hold.target) throw this.#isFrozen()
    await this.#wantBase(upTo ?? acked)
    return this.#shell.base()
  }

  async #wantBase(target: Won): Promise<void> {
    const failed = this.#shell.failed()
    if (failed !== null) throw new Failure(EXIT.damaged, failed)
    await this.whileCutting(() => this.#shell.bases.wait(target))
  }

  /** A cut is wanted while this runs. */
  async whileCutting(wait: () => Promise<void>): Promise<void> {
    this.#flushesWanted++
    try {
      this.#shell.reconsider()
      await wait()
    } finally {
      this.#flushesWanted--
    }
  }

  // --- freeze and thaw ----------------------------------------------------------------------------------------------------

  /**
   * The point at which the backing is to stop: what is acknowledged now. Called for all disks of a VM before anything
   * else runs, so that no write of one disk that followed a write of another is in without it. Throws Failure(unsafe).
   */
  beginFreeze(leaseMs: number): void {
    const acked = this.#mustServe()
    if (this.#hold !== null) throw this.#isFrozen()
    const through = this.#shell.acksWait()
    if (through !== null) {
      throw new Failure(EXIT.unsafe, `volume ${this.#shell.name} acknowledges nothing before it is on the backing (${through}), so a freeze would stop its guest; ` +
        'freeze the guest\'s own file systems for the time of the snapshot, or wait until it is in write-back again')
    }
    this.#hold = new Hold(acked, this.#shell.nowMs(), leaseMs)
    this.#shell.freeze()
  }

  /** A freeze of other disks of the same VM was refused: this one is not wanted either. */
  cancelFreeze(): void { this.#hold = null }

  /** Resolves when the backing is the disk as of the freeze, flushed, and stays so. */
  async frozen(): Promise<Won> {
    const hold = this.#hold
    assert(hold !== null, 'a freeze has begun')
    try {
      await this.#wantBase(hold.target)
      if (!hold.holds) throw new Failure(EXIT.unsafe, `the freeze of volume ${this.#shell.name} broke before the backing was there: ${hold.broken}`)
    } catch (error) {
      if (this.#hold === hold) this.#hold = null
      throw error
    }
    return hold.target
  }

  /** Destaging goes on. Throws Failure(unsafe) when the freeze did not last until now. */
  thaw(): { readonly cut: Won; readonly heldMs: number } {
    const hold = this.#hold, { name } = this.#shell
    if (hold === null) {
      const elsewhere = this.#shell.acked() === null ? `, and ${this.#claim?.owner.host ?? 'nobody'} owns it` : ''
      throw new Failure(EXIT.unsafe, `volume ${name} is not frozen on this host${elsewhere}; if it was, what was read below since may be of two points in time`)
    }
    this.#hold = null
    this.#shell.reconsider()
    if (!hold.holds) throw new Failure(EXIT.unsafe, `the freeze of volume ${name} broke: ${hold.broken}; what was read below since may be of two points in time`)
    return { cut: hold.target, heldMs: this.#shell.nowMs() - hold.sinceMs }
  }

  /** Ends a freeze that cannot last: the guest comes first. */
  checkHold(): void {
    const { freeSegments, segmentCount } = this.#shell.region
    const full = this.#shell.guestWaits() || freeSegments * limits.holdRoomParts <= segmentCount
    const degraded = this.#shell.acksWait()
    const need = degraded !== null ? `the guest waits for everything to be on the backing (${degraded})`
      : full ? 'the region has no room left for what the guest writes meanwhile' : null
    const reason = this.#hold?.check(this.#shell.nowMs(), need) ?? null
    if (reason !== null) this.#shell.warn(`the freeze of volume ${this.#shell.name} is broken: ${reason}`)
  }

  /** Another host owns the volume, and destages: nothing is held any more. */
  lost(): void { this.#hold = null }

  // --- mode and size ---------------------------------------------------------------------------------------------------------

  /** Another mode than the one that it was started with; resolves when it is in effect. */
  async setMode(mode: ClaimMode): Promise<void> {
    const { driver, index } = this.#shell
    this.#mustServe()
    if (this.#hold !== null) throw this.#isFrozen()
    // Acks wait from the change on until nothing is dirty: the less there is then, the shorter.
    for (let round = 0; mode === 'write-through' && round < limits.drainRounds && index.dirtyBytes > limits.drainSmallBytes; round++) await this.flush()
    driver.dispatch({ type: 'policy', mode })
    while (this.#claim!.mode !== mode) {
      this.#mustServe()
      if (driver.state.policy.mode !== mode) throw new Failure(EXIT.unsafe, `volume ${this.#shell.name}: somebody asked for ${driver.state.policy.mode} meanwhile`)
      if (possibleMode(driver.state) !== mode) {
        throw new Failure(EXIT.unsafe, `volume ${this.#shell.name} stays in write-through until it can have its copies: ${degradedReason(driver.state)}`)
      }
      await sleep(limits.destagePauseMs)
    }
  }

  /**
   * A host in maintenance has some of what is dirty: it is brought to the backing, while the guest goes on. Where nobody
   * else can have a copy, writes wait for the little that is left then, and the volume goes on in write-through.
   */
  async letGo(): Promise<void> {
    if (this.#lettingGo) return
    this.#lettingGo = true
    const { driver, index } = this.#shell
    try {
      await this.flush()
      for (let round = 0; mustLetGo(driver.state) && round < limits.drainRounds && index.dirtyBytes > limits.drainSmallBytes; round++) await this.flush()
      if (mustLetGo(driver.state)) driver.dispatch({ type: 'letGo' })
    } catch { /* frozen, failed or lost: "host ok-to-stop" over there says that its copy is still needed */ } finally {
      await sleep(limits.letGoPauseMs)
      this.#lettingGo = false
    }
  }

  /** The time for fewer copies is over. Where there are still too few, writes wait for what is dirty: the less that is, the shorter. */
  async endExemption(): Promise<void> {
    if (this.#lettingGo) return
    this.#lettingGo = true
    const { driver, index } = this.#shell
    try {
      for (let round = 0; needsExemption(driver.state) && round < limits.drainRounds && index.dirtyBytes > limits.drainSmallBytes; round++) await this.flush()
    } catch { /* it ends all the same */ } finally {
      driver.dispatch({ type: 'exempt', exemption: null })
      this.#lettingGo = false
    }
  }

  /**
   * The backing was made larger: the claim says so, then the guest is told. A backing that became smaller is refused.
   * Returns the capacity before and now, in bytes.
   */
  async resize(): Promise<{ beforeBytes: number; afterBytes: number }> {
    const { backing, name, driver } = this.#shell, claim = this.#claim
    if (this.#shell.acked() === null || claim === null) throw new Failure(EXIT.unsafe, `volume ${name} is not served by this host${claim === null ? '' : ` but by ${claim.owner.host}`}; resize it there`)
    const beforeBytes = claim.guest.capacityBytes
    backing.refreshSize()
    const afterBytes = backing.sizeBytes
    if (afterBytes < beforeBytes) {
      throw new Failure(EXIT.unsafe, `${backing.path} has ${afterBytes} bytes, less than the ${beforeBytes} that the guest uses; make it at least as large again`)
    }
    const until = this.#shell.nowMs() + limits.resizeTimeoutMs
    while (this.#shell.acked() !== null && this.#claim!.guest.capacityBytes < afterBytes) {
      if (this.#shell.nowMs() > until) throw new Failure(EXIT.unreachable, `the claim of ${name} could not be changed within ${limits.resizeTimeoutMs / 1000} s; try again`)
      driver.dispatch({ type: 'resize', capacityBytes: afterBytes })
      await sleep(10)
    }
    if (this.#shell.acked() === null) throw new Failure(EXIT.unsafe, `volume ${name} went to another host meanwhile; resize it there`)
    return { beforeBytes, afterBytes }
  }
}
