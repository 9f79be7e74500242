/** How a volume stands, for people: what its guest gets and why it is not what was asked for, and what is to be expected. */
import { degradedReason, exemptReason, slowMembers } from '../core/copies.js'
import type { VolumeOutlook } from '../ports/control.js'
import type { Region } from '../ports/region.js'
import type { Admission } from './admission.js'
import type { CutCycle } from './cut-cycle.js'
import type { Operations } from './operations.js'
import type { OwnershipDriver } from './ownership-driver.js'
import type { Rates } from './rates.js'
import type { Rot } from './rot.js'
import type { VolumeIndex } from './volume-index.js'
import type { WritePath } from './write-path.js'

export interface StandingShell {
  readonly region: Region
  readonly driver: OwnershipDriver
  readonly index: VolumeIndex
  readonly writes: WritePath
  readonly cuts: CutCycle
  readonly operations: Operations
  readonly admission: Admission
  readonly rates: Rates
  readonly rot: Rot
  readonly failAfterMs: number
  serving(): boolean
  /** Cannot renew its claim, and not every copy is there to vouch for it. */
  fenced(): boolean
  nowMs(): number
}

export class Standing {
  readonly #shell: StandingShell

  constructor(shell: StandingShell) { this.#shell = shell }

  /** For people; null: not known. */
  get outlook(): VolumeOutlook {
    const { region, index, cuts, rates: { log, destage }, operations: { hold }, nowMs } = this.#shell
    const ms = (bytes: number, rate: number): number | null => bytes === 0 ? 0 : rate > 0 ? Math.round((bytes / rate) * 1000) : null
    return {
      drainedInMs: ms(index.dirtyBytes, destage), fullInMs: ms(region.freeSegments * region.segmentBytes, log),
      dirtyAgeMs: cuts.dirtyAgeMs, frozenAt: hold?.target ?? null, frozenForMs: hold === null ? null : Math.max(0, hold.untilMs - nowMs()),
      freezeBroken: hold?.broken ?? null,
    }
  }

  /** What the guest gets now, and why it is not what was asked for. */
  effectivePolicy(): { effective: string; reason: string | null } {
    const { driver: { state }, cuts, rot, admission, writes, failAfterMs } = this.#shell, { claim, policy } = state
    if (!this.#shell.serving() || claim === null) return { effective: 'none', reason: state.reason }
    const copies = claim.set.length - 1
    const effective = claim.mode === 'write-through' ? 'write-through' : `write-back, ${copies} ${copies === 1 ? 'copy' : 'copies'}`
    if (rot.failure !== null) return { effective, reason: rot.failure }
    if (this.#shell.fenced()) return { effective: 'stopped', reason: `the claim cannot be renewed for ${failAfterMs} ms` }
    if (claim.mode === 'write-through' && policy.mode === 'write-back') return { effective, reason: degradedReason(state) }
    if (admission.tooOld) return { effective, reason: `the backing is ${Math.round(cuts.dirtyAgeMs / 1000)} s behind, more than max_dirty_age; writes wait` }
    const exempt = exemptReason(state)
    const slow = slowMembers(state)
    if (slow.length > 0) return { effective, reason: `${slow.join(', ')} confirms slowly, and there is no other host for its copy` }
    if (exempt !== null) return { effective, reason: `${exempt}, as an operator chose` }
    if (writes.acksFrozen) return { effective: 'draining to write-through', reason: degradedReason(state) }
    return { effective, reason: null }
  }
}
