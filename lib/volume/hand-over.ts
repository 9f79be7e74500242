/**
 * Another host takes the volume over, or this one seals itself for a claim change: what was under way ends, the log is sealed, and
 * the index of what is dirty is left for whoever reads it next.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { sameMember, type Claim, type Member } from '../core/claim.js'
import type { SealReport } from '../core/transition.js'
import type { Epoch } from '../core/units.js'
import { limits } from '../limits.js'
import type { Backing, CutJournal } from '../ports/io.js'
import type { Answer, DialedPeer, Seal } from '../ports/peer.js'
import type { Holder } from '../replica/holder.js'
import type { OwnershipDriver } from './ownership-driver.js'
import type { VolumeIndex } from './volume-index.js'
import type { WritePath } from './write-path.js'

export interface HandOverShell {
  readonly holder: Holder
  readonly driver: OwnershipDriver
  readonly index: VolumeIndex
  readonly writes: WritePath
  readonly backing: Backing
  readonly journal: CutJournal | null
  dialed(host: string): DialedPeer | undefined
  serving(): boolean
  guestRuns(): boolean
  nowMs(): number
}

export class HandOver {
  readonly #shell: HandOverShell
  #active = false
  #askedMs = 0
  #servedEpoch = 0

  constructor(shell: HandOverShell) { this.#shell = shell }

  /** Another host was promised the volume: nothing is destaged or retired any more. */
  get active(): boolean { return this.#active }
  /** Since when. */
  get askedMs(): number { return this.#askedMs }

  /** This host serves the epoch. */
  served(epoch: Epoch): void {
    this.#servedEpoch = epoch
    this.#active = false
  }

  ended(): void { this.#active = false }

  /** Another host seals this volume: to take it over as agreed, or because it believes this host dead. */
  async onSeal(request: Seal, answer: (message: Answer) => void): Promise<void> {
    const { holder, driver, writes, serving, nowMs } = this.#shell, claim = (): Claim => driver.state.claim!
    const running = this.#shell.guestRuns()
    if (serving() && request.epoch >= claim().epoch) {
      if (request.handOver && running) { answer({ type: 'sealRefused', reason: 'its guest is running there' }); return }
      // A later epoch than the one served is a change of its own that was won, and this host has not heard of yet.
      const unheard = request.epoch > claim().epoch
      if (driver.state.attempt !== null && (request.handOver || unheard)) { answer({ type: 'sealRefused', reason: 'a claim change is under way there' }); return }
    }
    try {
      // A late seal of an epoch that this host has left behind itself changes nothing here, and must not stop the present one.
      if (serving() && request.epoch >= claim().epoch) {
        if (!this.#active) this.#askedMs = nowMs()
        this.#active = true
        await writes.freeze()
        await this.#quiet()
      }
      const report = await holder.seal(request.volume, request.epoch)
      this.#leaveIndex(request.epoch, report.length)
      driver.dispatch({ type: 'selfSealed', epoch: request.epoch, reason: request.handOver ? 'handed over' : 'sealed by a takeover' })
      const quiet = this.#servedEpoch === request.epoch && this.#outstandingWrites === 0
      answer({ type: 'sealed', ...holder.identity, ...report, quiet })
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    } finally {
      this.#active = false
    }
  }

  /** The next owner reads what is dirty from here: what this one knows of it is ready. */
  #leaveIndex(sealed: Epoch, length: number): void {
    const { holder, index, writes: { epoch }, driver: { state: { claim } } } = this.#shell
    if (claim === null || epoch === null || claim.epoch !== sealed || epoch.ackedWon !== epoch.start + length) return
    const own = index.layersOf(0)
    if (own !== null) holder.adopt(claim.volume, sealed, length, own)
    for (const log of claim.inherited) {
      const layers = index.layersOf(log.epoch)
      if (layers !== null && layers.length > 0) holder.adopt(claim.volume, log.epoch, log.kept, layers)
    }
  }

  /** On the shared storage, from this process. */
  get #outstandingWrites(): number { return this.#shell.backing.outstandingWrites + (this.#shell.journal?.outstandingWrites ?? 0) }

  /** Gives outstanding backing writes a bounded time to end; if they do not, the hand-over is simply not quiet. */
  async #quiet(): Promise<void> {
    const until = this.#shell.nowMs() + limits.handOverQuietMs
    while (this.#outstandingWrites > 0 && this.#shell.nowMs() < until) await sleep(5)
  }

  /** The running owner, for a change of its own claim; or what it was before it was started anew. */
  async sealSelf(volume: string, epoch: Epoch): Promise<Omit<SealReport, 'member'>> {
    const { holder } = this.#shell
    // Only the living process that served this epoch knows of all its backing writes (R8d, R8e).
    const known = this.#servedEpoch === epoch
    const report = await holder.seal(volume, epoch)
    return { ...report, quiet: known && this.#outstandingWrites === 0 }
  }

  /** The host that has just handed the volume over, in peace, and has the index of its logs still in memory. */
  whoLeft(claim: Claim, from: Claim | null): Member | null {
    const { self } = this.#shell.holder
    if (from === null || claim.quarantine || sameMember(from.owner, self)) return null
    return this.#shell.dialed(from.owner.host)?.incarnation === from.owner.incarnation ? from.owner : null
  }
}
