/** The life of cuts: when one begins, what has to be true before it goes to the backing, and what its end leads to. */
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../core/assert.js'
import { hasMember, type Claim } from '../core/claim.js'
import type { BlockSample } from '../core/fingerprint.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import { limits } from '../limits.js'
import type { CleanBlocks, Extents } from '../ports/clean.js'
import type { RecordVisitor } from '../ports/region.js'
import { RecordDamage } from '../region/verify-records.js'
import type { Holder } from '../replica/holder.js'
import type { Admission } from './admission.js'
import type { BaseWatch } from './base-watch.js'
import type { Counters } from './counters.js'
import type { CutGroup, CutRound, GroupMember } from './cut-group.js'
import { Destager, type DestageOrder, type DestageShell } from './destager.js'
import type { FlushPath } from './flush-path.js'
import type { Operations } from './operations.js'
import type { OwnershipDriver } from './ownership-driver.js'
import type { Rot } from './rot.js'
import type { Level, VolumeIndex } from './volume-index.js'
import type { WritePath } from './write-path.js'

export interface CutOptions {
  /** Dirty data waits this long, or until there is this much of it, before a cut begins. */
  readonly destageDelayMs: number
  readonly destageAtBytes: number
  /** What the backing is worth if every log is lost. */
  readonly order: DestageOrder
  /** Copies that are asked for. */
  readonly copies: number
}

/** What the destager needs and the cycle does not. */
type DestageParts = Pick<DestageShell, 'region' | 'backing' | 'journal' | 'remote' | 'cutMemory'>

export interface CutShell extends DestageParts {
  readonly name: string
  /** With the other disks of the VM; null: there are none. */
  readonly group: CutGroup | null
  readonly holder: Holder
  readonly clean: CleanBlocks | null
  readonly index: VolumeIndex
  readonly counters: Counters
  readonly driver: OwnershipDriver
  readonly writes: WritePath
  readonly flushes: FlushPath
  readonly bases: BaseWatch
  readonly rot: Rot
  operations(): Operations
  admission(): Admission
  serving(): boolean
  /** Owner, able to renew, not sealed, no claim change under way, no quarantine that still runs. */
  mayDestage(): boolean
  /** Owner still, and not about to be sealed. */
  mayRetire(): boolean
  base(): Won
  /** A guest's write found no room. */
  guestWaits(): boolean
  /** This host learns of the new base. */
  tell(host: string, volume: string, epoch: Epoch): void
  /** The base has risen: reads and writes that waited for it go on. */
  retired(cut: Won): void
  nowMs(): number
  warn(message: string): void
}

export class CutCycle {
  readonly destager: Destager
  readonly #options: CutOptions
  readonly #shell: CutShell
  readonly #member: GroupMember
  #dirtySinceMs: number | null = null
  #frozenAtMs = 0
  #notBeforeMs = 0

  constructor(options: CutOptions, shell: CutShell) {
    this.#options = options
    this.#shell = shell
    const { region, backing, journal, remote, cutMemory, index, counters } = shell
    this.destager = new Destager({
      region, backing, journal, remote, cutMemory, index, counters, order: options.order, nowMs: () => shell.nowMs(), mayDestage: () => shell.mayDestage(),
      context: () => ({ volume: this.#claim.volume, epoch: this.#claim.epoch, base: shell.base(), mode: this.#claim.mode }),
      freeze: () => this.freeze(), upTo: () => shell.operations().heldAt ?? toWon(Number.MAX_SAFE_INTEGER),
      verify: (cut, checked) => this.#verify(cut, checked), secure: (cut) => this.#secure(cut),
      retire: (cut, levels, extents, samples) => this.#retire(cut, levels, extents, samples), warn: (m) => shell.warn(m),
    })
    this.#member = {
      name: shell.name, serving: () => shell.serving(), apart: () => this.#apart, ready: () => this.#ready,
      freeze: () => this.freeze(), run: (round) => this.#start(round),
    }
    shell.group?.join(this.#member)
  }

  /** Its volume is not served here any more. */
  leaveGroup(): void { this.#shell.group?.leave(this.#member) }

  get #claim(): Claim { return this.#shell.driver.state.claim! }

  /** How long the backing has been without the oldest thing that it lacks. */
  get dirtyAgeMs(): number { return this.#dirtySinceMs === null ? 0 : this.#shell.nowMs() - this.#dirtySinceMs }

  /** Something is dirty now. */
  dirtied(): void { this.#dirtySinceMs ??= this.#shell.nowMs() }

  // --- where cuts end ----------------------------------------------------------------------------------------------------------

  /** What is dirty after the next cut was written from here on. */
  freeze(): void {
    this.#frozenAtMs = this.#shell.nowMs()
    this.#shell.index.freeze(this.#shell.writes.epoch!.ackedWon)
  }

  /** The guest flushed. order = "flush": the next cut ends here. */
  boundary(): void {
    const { index, journal, driver } = this.#shell
    if (this.#options.order !== 'flush' || driver.state.claim?.mode === 'write-through' || index.active.empty) return
    // While nothing is destaged, or not fast enough, levels join; then only the journal keeps the order.
    const join = this.#shell.operations().heldAt !== null || index.frozenCuts >= limits.flushCutsMax
    if (join && journal !== null) index.passFlush()
    else this.freeze()
  }

  // --- when they begin -----------------------------------------------------------------------------------------------------------

  get #ready(): boolean {
    // A region that failed can make no base durable: a cut would be written again and again.
    return this.#shell.rot.failure === null && !this.destager.busy && this.#shell.nowMs() >= this.#notBeforeMs && this.#shell.mayDestage()
  }

  /** Why this disk's cuts cannot be common ones with the others of its VM; null: they can. */
  get #apart(): string | null {
    if (this.#options.order !== 'journal') return `has order = "${this.#options.order}"`
    if (this.#claim.mode === 'write-through') return 'is in write-through'
    return this.#shell.operations().heldAt === null ? null : 'is frozen'
  }

  /** Begins a cut if one is due. */
  consider(): void {
    const { index, bases } = this.#shell
    if (!this.#shell.serving() || !this.#ready) return
    const base = this.#shell.base()
    if (index.empty && !this.#claim.quarantine && !bases.wanted) return
    if (base >= (this.#shell.operations().heldAt ?? Infinity)) return
    // Flushes of the guest lie between two cuts: the one before must never be written over this one again (R16).
    if (this.#options.order === 'flush' && !bases.reached(base)) return
    if (!this.#due(base)) return
    if ((this.#shell.group?.want(this.#member) ?? 'alone') === 'alone') void this.#start(null).catch(() => undefined)
  }

  /** Resolves when the cut is on the backing; rejects, once that was said, when it is not. */
  async #start(round: CutRound | null): Promise<void> {
    const { driver, counters } = this.#shell
    try {
      const progress = await this.destager.cut(round)
      if (!progress) this.#notBeforeMs = this.#shell.nowMs() + limits.destagePauseMs
    } catch (error) {
      counters.backingErrors++
      this.#notBeforeMs = this.#shell.nowMs() + limits.destageRetryMs
      if (driver.state.phase === 'serving') this.#shell.warn(`destaging stopped: ${(error as Error).message}; the data stays dirty and is tried again`)
      throw error
    } finally {
      // Not before the round has heard of it.
      setImmediate(() => this.consider())
    }
  }

  #due(base: Won): boolean {
    const { index, writes } = this.#shell, { destageDelayMs, destageAtBytes, copies } = this.#options, claim = this.#claim
    const admission = this.#shell.admission()
    // A hand-over that could not seal every member leaves an older log with fewer copies than were asked for.
    const thin = claim.inherited.some((log) => log.start + log.kept > base && log.holders.length <= copies)
    const wanted = claim.quarantine || index.frozenCuts > 0 || this.#shell.operations().cutWanted || writes.acksFrozen || claim.mode === 'write-through'
    const full = this.#shell.guestWaits() || admission.fill > CUT_FROM_FILL
    return thin || wanted || full || this.dirtyAgeMs >= destageDelayMs ||
      // A cut frees nothing before its end: in a small region it has to be small too.
      index.dirtyBytes >= Math.min(destageAtBytes, admission.roomBytes / limits.cutRegionParts)
  }

  // --- before the backing gets anything --------------------------------------------------------------------------------------------

  /** Records in the own region that a cut is about to take its data from. */
  async #verify(cut: Won, checked?: RecordVisitor): Promise<void> {
    const { holder, rot } = this.#shell, claim = this.#claim, pin = holder.region.pinReads()
    let damaged = claim.epoch
    const ends = new Map<number, number>([[claim.epoch, cut]])
    for (const log of claim.inherited) if (hasMember(log.holders, holder.self)) ends.set(log.epoch, Math.min(cut, log.start + log.kept))
    try {
      for (const log of holder.region.logs(claim.volume)) {
        damaged = log.epoch
        await log.verify(this.#shell.base(), toWon(ends.get(log.epoch) ?? 0), checked)
      }
    } catch (error) {
      if (error instanceof RecordDamage && !rot.leave(damaged, error.fact)) rot.failRegion(error.message)
      throw error
    } finally {
      holder.region.unpinReads(pin)
    }
  }

  /**
   * The logs must be able to show whatever the backing has: else, after a loss of power, a block that a later cut wrote is
   * in no log, is not what the samples say, and looks like a restored image (H64). In write-through, where each record is
   * durable by itself, the guest would wait for each base: there are no samples instead.
   */
  async #secure(cut: Won): Promise<void> {
    const { holder: { region }, writes, flushes, rot } = this.#shell, { volume } = this.#claim
    if (this.#claim.mode === 'write-through') {
      assert(writes.epoch!.powerSafe >= cut, 'in write-through a record that is stored is power-safe')
      if (region.volumeState(volume).samples !== undefined) await region.saveVolumeState(volume, { base: this.#shell.base() })
      return
    }
    let flushed: Promise<void> | null = null
    while (this.#shell.serving() && rot.failure === null && writes.epoch!.powerSafe < cut) {
      flushed ??= new Promise<void>((resolve) => { flushes.submit({ complete: () => resolve() }) }).then(() => { flushed = null })
      // Not for ever: a claim change makes it safe too, a lost claim never.
      await Promise.race([flushed, sleep(limits.destagePauseMs)])
    }
    if (!this.#shell.serving() || rot.failure !== null) throw new Error(rot.failure ?? 'the volume was lost')
  }

  // --- when it has everything --------------------------------------------------------------------------------------------------------

  async #retire(cut: Won, levels: readonly Level[], extents: readonly Extents[], samples: readonly BlockSample[]): Promise<void> {
    const { holder, clean, index } = this.#shell
    if (this.#claim.quarantine) await this.#leaveQuarantine()
    // A base that a sealed owner raises would hide what the next owner has begun to write once more, oldest first (R17).
    if (!this.#shell.mayRetire()) throw new Error('the volume was lost before its base was raised')
    assert(!this.#claim.quarantine, 'nothing is retired in quarantine (R8)')
    assert(cut <= this.#shell.writes.epoch!.ackedWon, 'only what is acknowledged is destaged (R10)')
    const { volume } = this.#claim
    if (cut > this.#shell.base()) await holder.region.saveVolumeState(volume, { base: cut, samples: this.#claim.mode === 'write-through' ? [] : samples })
    await clean?.absorb(extents)
    index.retire(levels)
    await holder.trim(volume, cut)
    const claim = this.#claim
    const others = new Set([...claim.set, ...claim.inherited.flatMap((log) => log.holders)].map((m) => m.host))
    others.delete(holder.self.host)
    for (const host of others) this.#shell.tell(host, volume, claim.epoch)
    this.#dirtySinceMs = index.empty ? null : this.#frozenAtMs
    this.#shell.retired(cut)
  }

  async #leaveQuarantine(): Promise<void> {
    while (this.#shell.serving() && this.#claim.quarantine) {
      // Said again: another claim change that is under way does not hear it, and carries the quarantine over.
      this.#shell.driver.dispatch({ type: 'quarantineOver' })
      await sleep(limits.destagePauseMs)
    }
    if (!this.#shell.serving()) throw new Error('the claim was lost at the end of quarantine')
  }
}

/** Share of the region in use from which a cut does not wait for its time. */
const CUT_FROM_FILL = 0.75
