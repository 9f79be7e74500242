/** Runs what the ownership machine asks for, and feeds the answers back to it. Control plane: a few events a second. */
import { randomBytes } from 'node:crypto'
import { Failure, EXIT } from '../core/failure.js'
import type { Claim, Member } from '../core/claim.js'
import type { OwnershipEffect, OwnershipEvent, OwnershipState } from '../core/ownership-state.js'
import { step } from '../core/ownership.js'
import type { SealReport } from '../core/transition.js'
import type { Epoch } from '../core/units.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { DialedPeer } from '../ports/peer.js'

export interface OwnershipShell {
  readonly store: ClaimStore
  dialed(host: string): DialedPeer | undefined
  /** Stops appends; resolves when none to the own region is under way. */
  freeze(): Promise<void>
  /** Seals this host's own log durably. `quiet`: this process owned that epoch and has no backing write outstanding. */
  sealSelf(volume: string, epoch: Epoch): Promise<Omit<SealReport, 'member'>>
  flushBacking(): Promise<void>
  /** Runs the fence command; what it achieved, null: nothing. */
  fence(owner: Member, epoch: Epoch): Promise<{ readonly storage: boolean } | null>
  /** Serves the claim; resolves when requests may be popped. */
  serve(claim: Claim, from: Claim | null, kept: number, running: boolean): Promise<void>
  lost(reason: string): void
  released(): void
  /** After every event: the state may have changed. */
  changed(): void
  nowMs(): number
  warn(message: string): void
}

export class OwnershipDriver {
  readonly state: OwnershipState
  readonly #shell: OwnershipShell
  readonly #sealTimeoutMs: number
  #stopped = false
  #swapAskedMs = 0

  constructor(state: OwnershipState, shell: OwnershipShell) {
    this.state = state
    this.#shell = shell
    this.#sealTimeoutMs = state.policy.sealTimeoutMs
  }

  dispatch(event: OwnershipEvent): void {
    if (this.#stopped) return
    const effects = step(this.state, event, { nowMs: this.#shell.nowMs(), nonce: randomBytes(16).toString('hex') })
    for (const effect of effects) this.#run(effect)
    this.#shell.changed()
  }

  stop(): void { this.#stopped = true }

  /** When the newest claim change was asked for. Its answer may be old: another host counts from here (R6, R7). */
  get swapAskedMs(): number { return this.#swapAskedMs }

  /** Reads claim and heartbeat; also the owner's renewal does this (R7: renewing includes reading the claim). */
  async readClaim(): Promise<void> {
    try {
      const claim = await this.#shell.store.read()
      const beat = claim === null ? null : await this.#shell.store.readBeat()
      this.dispatch({ type: 'claimRead', claim, beat })
    } catch (error) {
      const damaged = error instanceof Failure && error.exitCode === EXIT.damaged
      this.dispatch({ type: 'claimUnreadable', reason: (error as Error).message, damaged })
      throw error
    }
  }

  #run(effect: OwnershipEffect): void {
    switch (effect.type) {
      case 'readClaim': this.readClaim().catch(() => undefined); break
      case 'seal': void this.#seal(effect.member, effect.epoch, effect.handOver); break
      case 'sealSelf': void this.#sealSelf(effect.epoch); break
      case 'flushBacking':
        this.#shell.flushBacking().then(
          () => this.dispatch({ type: 'backingFlushed', ok: true }),
          () => this.dispatch({ type: 'backingFlushed', ok: false }))
        break
      case 'fence':
        void this.#shell.fence(effect.owner, effect.epoch)
          .then((done) => { if (done !== null) this.dispatch({ type: 'fenced', fenced: { epoch: effect.epoch, storage: done.storage } }) })
        break
      case 'freeze': void this.#shell.freeze(); break
      case 'swap':
        this.#swapAskedMs = this.#shell.nowMs()
        this.#shell.store.compareAndSwap(effect.expected, effect.next).then(
          (outcome) => this.dispatch({ type: 'swapped', outcome }),
          () => this.dispatch({ type: 'swapped', outcome: 'unknown' }))
        break
      case 'serve':
        this.#shell.serve(effect.claim, effect.from, effect.kept, effect.running).then(() => this.dispatch({ type: 'served', epoch: effect.claim.epoch })).catch((error: Error) => {
          this.#shell.warn(`epoch ${effect.claim.epoch} cannot be served: ${error.message}`)
          this.state.phase = 'failed'
          this.state.reason = error.message
          this.#shell.lost(error.message)
        })
        break
      case 'lost': this.#shell.lost(effect.reason); break
      case 'released': this.#shell.released(); break
    }
  }

  async #sealSelf(epoch: Epoch): Promise<void> {
    const member = this.state.self
    try {
      await this.#shell.freeze()
      const report = await this.#shell.sealSelf(this.state.claim!.volume, epoch)
      this.dispatch({ type: 'sealed', epoch, report: { member, ...(member.powerLosses === undefined ? {} : { powerLosses: member.powerLosses }), ...report } })
    } catch (error) {
      this.dispatch({ type: 'sealFailed', epoch, member, busy: false, reason: (error as Error).message })
    }
  }

  async #seal(member: Member, epoch: Epoch, handOver: boolean): Promise<void> {
    const failed = (busy: boolean, reason: string): void => this.dispatch({ type: 'sealFailed', epoch, member, busy, reason })
    const peer = this.#shell.dialed(member.host)
    if (peer === undefined || peer.incarnation !== member.incarnation) { failed(false, 'not connected'); return }
    try {
      const { message } = await peer.request({ type: 'seal', volume: this.state.claim!.volume, epoch, handOver }, this.#sealTimeoutMs)
      if (message.type === 'sealRefused') failed(true, message.reason)
      else if (message.type !== 'sealed') failed(false, message.type === 'problem' ? message.reason : `answered ${message.type}`)
      else if (message.incarnation !== member.incarnation) failed(false, 'its region was formatted anew')
      else {
        const { length, base, quiet, older, samples, powerLosses } = message
        const report: SealReport = { member, length, base, quiet, ...(powerLosses === undefined ? {} : { powerLosses }), ...(older === undefined ? {} : { older }), ...(samples === undefined ? {} : { samples }) }
        this.dispatch({ type: 'sealed', epoch, report })
      }
    } catch (error) {
      failed(false, (error as Error).message)
    }
  }
}
