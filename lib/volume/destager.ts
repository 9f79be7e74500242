/**
 * Destage: one cut at a time. A cut freezes what is acknowledged, writes the newest version of each extent, sorted
 * and merged, oldest log first, flushes the backing, makes the new base durable here and on every member, and only
 * then lets the logs go.
 *
 * What the backing is worth without any log is the volume's choice (`order`):
 *   journal  the cut is whole in a journal before any of it is applied.
 *   flush    a cut ends where a guest flush ended, and holds what came between two of them: any part of it is legal.
 *   cut      between two cuts the backing is of no use without the logs.
 * In write-through nothing acknowledged is waiting, so any part of a cut is legal whatever the order.
 *
 * Why in this order (power may go at any point):
 *   journal not committed:        the backing is as the cut before left it.
 *   written, not flushed:         the logs still hold everything; the cut is written again.
 *   flushed, base not durable:    the same, once too often.
 *   base durable here, not there: a replica replays an older version only below a base it does not know; a takeover
 *                                 takes the highest base of those sealed, and its first cut covers everything (R16).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../core/assert.js'
import type { ClaimMode } from '../core/claim.js'
import { CutSampler, type BlockSample } from '../core/fingerprint.js'
import { RUN } from '../core/layer.js'
import type { Epoch, Won } from '../core/units.js'
import { roundDown, roundUp } from '../core/units.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'
import type { AlignedMemory } from '../io/memory.js'
import { flushBacking, operation } from '../io/operation.js'
import type { Backing, CutJournal } from '../ports/io.js'
import type { Extents } from '../ports/clean.js'
import type { RecordVisitor, Region } from '../ports/region.js'
import { BouncePool } from '../io/bounce.js'
import type { MemoryBudget } from '../io/memory-budget.js'
import type { Counters } from './counters.js'
import type { CutRound } from './cut-group.js'
import { CutImage } from './cut-image.js'
import { CutSweep } from './cut-sweep.js'
import { MAX_SECTORS, groupEnd } from './extent-groups.js'
import { newestOnly } from './newest-extents.js'
import type { RemoteReader } from './remote-reader.js'
import type { Cut, Level, VolumeIndex } from './volume-index.js'

export type DestageOrder = 'journal' | 'flush' | 'cut'

/** Whose cut it is, for the journal. `mode` tells whether something acknowledged is waiting. */
export interface CutContext { readonly volume: string; readonly epoch: Epoch; readonly base: Won; readonly mode: ClaimMode }

export interface DestageShell {
  readonly order: DestageOrder
  readonly region: Region
  readonly backing: Backing
  /** Null where the order needs none, or there is no place for one. */
  readonly journal: CutJournal | null
  readonly index: VolumeIndex
  readonly remote: RemoteReader
  readonly counters: Counters
  nowMs(): number
  /** Owner, able to renew, not sealed, no claim change under way: the one destager (R7, R10, R17). */
  mayDestage(): boolean
  context(): CutContext
  /** Freezes the active level of the index at what is acknowledged. */
  freeze(): void
  /** What cuts may have of memory. */
  readonly cutMemory: MemoryBudget
  /** Every record up to `cut` that is read here is as it was written; `checked` hears of each. Rejects when one is not. */
  verify(cut: Won, checked?: RecordVisitor): Promise<void>
  /** What the backing is about to get, no loss of power can take from the logs any more (H64). */
  secure(cut: Won): Promise<void>
  /** No cut goes beyond this won: a freeze for a snapshot or backup below us. */
  upTo(): Won
  /** Everything up to `cut` is on the backing, flushed. In quarantine nothing is retired (R8). `samples`: of what the cut wrote. */
  retire(cut: Won, levels: readonly Level[], extents: readonly Extents[], samples: readonly BlockSample[]): Promise<void>
  warn(message: string): void
}

const LOG_LEFT = 'a log of this cut is read from its other holders from now on, or is on the backing already'

/** Where a level's newest versions go: the journal, or the backing. */
interface Sink {
  data(lba: number, sectors: number, memory: AlignedMemory): Promise<void>
  zero(lba: number, sectors: number): Promise<void>
}

export class Destager {
  readonly #shell: DestageShell
  readonly #pool = new BouncePool(limits.destageDepth)
  readonly #sampler = new CutSampler(crc)
  #running: Promise<boolean> | null = null
  #progress = 0
  /** 'unknown': an earlier owner may have left one. 'none': there is none. */
  #journal: 'unknown' | 'used' | 'none' = 'unknown'
  #closed = false

  constructor(shell: DestageShell) { this.#shell = shell }

  get busy(): boolean { return this.#running !== null }
  /** Bytes of the present cut that are written. */
  get progressBytes(): number { return this.#progress }

  /** Runs one cut, alone or as its disk's part of a common `round`, or joins the one that runs; false when nothing may be destaged. Rejects when the backing refuses it; the data stays dirty. */
  cut(round: CutRound | null): Promise<boolean> {
    this.#running ??= this.#cut(round).finally(() => { this.#running = null })
    return this.#running
  }

  async #cut(round: CutRound | null): Promise<boolean> {
    await this.#allowed()
    const merged = await this.#leftJournal()
    const cut = this.#next(merged)
    if (cut === null) return false
    const { journal, counters } = this.#shell
    const found: Extents[] = []
    for (const level of cut.levels) found.push(await this.#extents(level))
    // A holder's base has hidden some of them meanwhile.
    if (!cut.levels.every((level) => this.#shell.index.has(level))) throw new Error(LOG_LEFT)
    const extents = newestOnly(found)
    const image = this.#imageOf(cut, extents)
    try {
      // The last moment to notice rot: from here it would be on the backing, and the log gone.
      await this.#shell.verify(cut.cut, image?.take)
      await this.#shell.secure(cut.cut)
      const inMemory = image?.whole === true ? image : null
      const journaled = journal !== null && (merged || this.#wantsJournal(cut))
      if (journaled) {
        await this.#toJournal(cut, extents, inMemory, journal, round?.id ?? null)
        if (round !== null && await round.together() === 'alone') await journal.leaveRound()
      }
      else if (journal !== null && this.#journal === 'used') await this.#removeJournal(journal)
      await this.#toBacking(cut, extents, inMemory)
      counters.cuts++
      await this.#shell.retire(cut.cut, cut.levels, extents, this.#sampler.samples)
      if (journaled) journal.retired()
    } finally {
      if (image !== null) this.#freeImage(image)
    }
    return true
  }

  /** Null: a cut of several levels, one that is not all here, or one that is too large. It is read piece by piece. */
  #imageOf({ levels }: Cut, extents: readonly Extents[]): CutImage | null {
    if (levels.length !== 1 || levels[0]!.remote !== null) return null
    const image = new CutImage(extents[0]!)
    if (!this.#shell.cutMemory.take(image.lengthBytes)) return null
    image.allocate()
    return image
  }

  #freeImage(image: CutImage): void {
    image.free()
    this.#shell.cutMemory.give(image.lengthBytes)
  }

  async #toBacking(cut: Cut, extents: readonly Extents[], image: CutImage | null): Promise<void> {
    const { backing } = this.#shell
    for (;;) {
      await this.#allowed()
      this.#progress = 0
      this.#sampler.reset()
      const generation = backing.errorGeneration
      if (image !== null) await this.#sweep(cut, image)
      // One level after the other, each without what a newer one has: two writes to one sector are never on their way together.
      else for (const [i, level] of cut.levels.entries()) await this.#writeLevel(level, extents[i]!, this.#backingSink)
      await this.#allowed()
      const begunMs = this.#shell.nowMs()
      await flushBacking(backing)
      this.#shell.counters.measured.backing.flush.add((this.#shell.nowMs() - begunMs) * 1000)
      // R18: a flush vouches only for writes with no error, reset or reconnect in between.
      if (backing.errorGeneration === generation) return
      this.#shell.warn('the backing reported an error during the cut; the cut is written again')
    }
  }

  async #sweep({ levels }: Cut, image: CutImage): Promise<void> {
    const { backing, index } = this.#shell
    const sweep = new CutSweep({
      backing, sampler: this.#sampler, mayWrite: () => this.#shell.mayDestage(),
      nowMs: () => this.#shell.nowMs(), wrote: (bytes, tookMs) => this.#wrote(bytes, tookMs),
    }, image)
    while (!sweep.done) {
      await this.#allowed()
      if (!index.has(levels[0]!)) throw new Error(LOG_LEFT)
      await sweep.run()
    }
  }

  /**
   * A journal that an earlier owner left may have to be applied if all logs are lost, and must not be once newer data
   * went past it. True: it may not have been applied, so the next cut has to cover it, as one and by the journal.
   */
  async #leftJournal(): Promise<boolean> {
    const { journal, order } = this.#shell
    if (journal === null || this.#journal !== 'unknown' || order === 'journal' && !this.#through) return false
    // In write-through nothing acknowledged waits, so whatever a journal holds is on the backing.
    if (!this.#through && await journal.pending() !== null) return true
    await this.#removeJournal(journal)
    return false
  }

  async #removeJournal(journal: CutJournal): Promise<void> {
    await this.#allowed()
    await journal.remove()
    this.#journal = 'none'
  }

  get #through(): boolean { return this.#shell.context().mode === 'write-through' }

  /** What is frozen already goes first: a cut that the backing refused, cuts at guest flushes, a freeze. */
  #next(merged: boolean): Cut | null {
    const { index, order } = this.#shell
    const oneLevel = order === 'flush' && !this.#through && !merged
    const upTo = this.#shell.upTo()
    const frozen = index.nextCut(oneLevel, upTo)
    if (frozen !== null) return frozen
    this.#shell.freeze()
    return index.nextCut(oneLevel, upTo)
  }

  #wantsJournal(cut: Cut): boolean {
    const { order, journal } = this.#shell
    if (this.#through || order === 'cut') return false
    if (order === 'journal') return true
    // The places of the guest's flushes are not known in a log that only others hold, nor kept during a freeze.
    const whole = !cut.levels.every((level) => level.betweenFlushes)
    if (whole && journal === null) this.#shell.warn('a cut is destaged without regard to the guest\'s flushes in it: there is no place for a journal')
    return whole
  }

  async #toJournal(cut: Cut, extents: readonly Extents[], image: CutImage | null, journal: CutJournal, round: string | null): Promise<void> {
    this.#progress = 0
    this.#journal = 'used'
    const { volume, epoch, base } = this.#shell.context()
    await journal.begin({ volume, epoch, base, cut: cut.cut, round })
    const { counters } = this.#shell
    const sink: Sink = {
      data: (lba, sectors, memory) => {
        counters.journalBytes += sectors * 512
        return journal.addData(lba, sectors, memory)
      },
      zero: (lba, sectors) => Promise.resolve(journal.addZero(lba, sectors)),
    }
    if (image !== null) {
      counters.journalBytes += image.lengthBytes
      await journal.addImage(image.memory, image.lengthBytes, image)
    } else for (const [i, level] of cut.levels.entries()) await this.#writeLevel(level, extents[i]!, sink)
    await this.#allowed()
    await journal.commit()
  }

  readonly #backingSink: Sink = {
    data: async (lba, sectors, memory) => {
      const { backing } = this.#shell
      // It was read since the last look: this host may have stood still meanwhile, for longer than its claim is good (R7).
      await this.#allowed()
      this.#sampler.data(lba, sectors, memory.bytes)
      const begunMs = this.#shell.nowMs()
      await operation((target) => backing.write(memory.address, sectors * 512, lba * 512, false, target, 0))
      this.#wrote(sectors * 512, this.#shell.nowMs() - begunMs)
    },
    zero: async (lba, sectors) => {
      const { backing } = this.#shell
      this.#sampler.zero(lba, sectors)
      const begunMs = this.#shell.nowMs()
      await operation((target) => backing.zero(lba * 512, sectors * 512, true, target, 0))
      this.#wrote(sectors * 512, this.#shell.nowMs() - begunMs)
    },
  }

  #wrote(bytes: number, tookMs: number): void {
    const { counters } = this.#shell
    counters.backingWriteBytes += bytes
    counters.measured.backing.write.add(tookMs * 1000)
    this.#progress += bytes
  }

  /** Waits while a claim change is under way or the claim cannot be renewed; a lost claim ends the cut. */
  async #allowed(): Promise<void> {
    while (!this.#shell.mayDestage()) {
      if (this.#closed) throw new Error('destaging stopped')
      await sleep(limits.destagePauseMs)
    }
  }

  /** Submits nothing more; what is outstanding on the backing stays outstanding and keeps `quiet` false. */
  stop(): void { this.#closed = true }
  /** This host owns the volume anew: what it knew of the journal does not count any more. */
  resume(): void {
    this.#closed = false
    this.#journal = 'unknown'
  }

  async #writeLevel(level: Level, extents: Extents, sink: Sink): Promise<void> {
    const outstanding = new Set<Promise<void>>()
    let failure: Error | null = null
    try {
      for (let i = 0; i < extents.lba.length && failure === null;) {
        const end = groupEnd(extents, i)
        await this.#allowed()
        const write = this.#writeGroup(level, extents, i, end, sink).catch((error: Error) => { failure ??= error })
        outstanding.add(write)
        void write.then(() => outstanding.delete(write))
        if (outstanding.size >= limits.destageDepth) await Promise.race(outstanding)
        i = end
      }
    } finally {
      // Whatever ended the pass: a later write to the same sectors starts only when these have landed.
      await Promise.all(outstanding)
    }
    if (failure !== null) throw failure as Error
  }

  async #extents(level: Level): Promise<Extents> {
    const extents: Extents = { local: level.remote === null, lba: [], sectors: [], kind: [], location: [] }
    const add = (lba: number, sectors: number, kind: number, location: number): boolean => {
      const most = kind === RUN.zero ? limits.discardSectorsMax : MAX_SECTORS
      for (let done = 0; done < sectors; done += most) {
        extents.lba.push(lba + done)
        extents.sectors.push(Math.min(most, sectors - done))
        extents.kind.push(kind)
        extents.location.push(location + done)
      }
      return true
    }
    if (level.layer !== null) { level.layer.scan(0, add); return extents }
    const map = await this.#shell.remote.map(level.remote!)
    // Null: its holders have trimmed it, because everything of it is on the backing.
    if (map !== null) for (let i = 0; i + 2 < map.length; i += 3) add(map[i]!, map[i + 1]!, map[i + 2]!, 0)
    return extents
  }

  /** One write from up to 1 MiB of neighbouring extents; zeros go alone. */
  async #writeGroup(level: Level, extents: Extents, from: number, to: number, sink: Sink): Promise<void> {
    const lba = extents.lba[from]!
    const sectors = extents.lba[to - 1]! + extents.sectors[to - 1]! - lba
    if (extents.kind[from] === RUN.zero) { await sink.zero(lba, sectors); return }
    // A claim change has left the log to its other holders: its segments here are on their way out.
    if (!this.#shell.index.has(level)) throw new Error(LOG_LEFT)
    const memory = this.#pool.take()
    assert(memory !== undefined, 'one buffer for each outstanding destage write')
    try {
      if (level.remote !== null) await this.#fetchRemote(level, lba, sectors, memory)
      else await this.#fetchLocal(extents, from, to, memory)
      await sink.data(lba, sectors, memory)
    } finally {
      this.#pool.give(memory)
    }
  }

  async #fetchLocal(extents: Extents, from: number, to: number, memory: AlignedMemory): Promise<void> {
    const file = this.#shell.region.file
    const pin = this.#shell.region.pinReads()
    try {
      let at = 0
      for (let i = from; i < to; i++) {
        const bytes = extents.sectors[i]! * 512, offset = extents.location[i]! * 512
        if (at % file.alignmentBytes === 0 && bytes % file.alignmentBytes === 0 && offset % file.alignmentBytes === 0) {
          const address = memory.address + at
          await operation((target) => file.read(address, bytes, offset, target, 0))
        } else {
          await this.#fetchUnaligned(memory, at, bytes, offset)
        }
        this.#shell.counters.regionReadBytes += bytes
        at += bytes
      }
    } finally {
      this.#shell.region.unpinReads(pin)
    }
  }

  async #fetchUnaligned(memory: AlignedMemory, at: number, bytes: number, offset: number): Promise<void> {
    const file = this.#shell.region.file
    const start = roundDown(offset, file.alignmentBytes), end = roundUp(offset + bytes, file.alignmentBytes)
    const wide = this.#scratch.take()
    if (wide === undefined) { await new Promise((resolve) => setImmediate(resolve)); return this.#fetchUnaligned(memory, at, bytes, offset) }
    try {
      await operation((target) => file.read(wide.address, end - start, start, target, 0))
      memory.bytes.set(wide.bytes.subarray(offset - start, offset - start + bytes), at)
    } finally {
      this.#scratch.give(wide)
    }
  }

  readonly #scratch = new BouncePool(limits.destageDepth)

  async #fetchRemote(level: Level, lba: number, sectors: number, memory: AlignedMemory): Promise<void> {
    const answer = await this.#shell.remote.read(level.remote!, lba, sectors)
    this.#shell.counters.remoteRead(answer.host, answer.raw.length)
    if (answer.trimmed || answer.raw.length !== sectors * 512) {
      // The map is older than a base that the holder has heard of since: what is missing is on the backing.
      level.layer = null
      throw new Error(`${answer.host} has let go of what is destaged of epoch ${level.epoch}; its map is asked for again`)
    }
    memory.bytes.set(answer.raw)
  }

  close(): void {
    this.stop()
    this.#pool.close()
    this.#scratch.close()
  }
}
