/**
 * One volume's part of the read cache.
 *
 * Why what it finds is never old. A block is here with what the backing has, and what changes the backing is a cut of
 * this very owner: its blocks are put in anew, or taken out, before the index forgets them, and are hidden by the index
 * until then. A read that missed may come back with what the backing had before a cut: the stamp it began with tells,
 * and it is not put in. Another owner changes the backing without us: the volume is kept only if the claim that this
 * host takes over is the one that it left.
 */
import type { Claim, Member } from '../core/claim.js'
import { sameMember } from '../core/claim.js'
import { RUN } from '../core/layer.js'
import { StreamDetector } from '../core/stream-detector.js'
import { BLOCK_BYTES, SECTORS_PER_BLOCK, roundUp } from '../core/units.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { CleanBlocks, Extents } from '../ports/clean.js'
import type { CleanCache, KeepBlock, KeptVolume } from './clean-cache.js'
import { FillWriter } from './fill-writer.js'

export interface CleanVolumeOptions {
  /** Bytes of the region that the volume's logs and clean blocks may have; null: no bound. */
  readonly quotaBytes: number | null
  /** Bytes of its logs. */
  logBytes(): number
}

export class CleanVolume implements CleanBlocks {
  readonly #cache: CleanCache
  readonly #options: CleanVolumeOptions
  readonly #fills: FillWriter
  readonly #scans = new StreamDetector(limits.scanBytes / 512)
  #handle: number
  #stamp = 0
  /** The last claim of this host's: the cache is true for who follows it. */
  #kept: Omit<KeptVolume, 'handle'> | null = null
  populating = true
  hitBytes = 0

  constructor(cache: CleanCache, options: CleanVolumeOptions) {
    this.#cache = cache
    this.#options = options
    this.#handle = this.#join()
    this.#fills = new FillWriter({ cache, handle: () => this.#handle, current: (stamp) => stamp === this.#stamp, mayTake: () => this.#roomFor(cache.pool.segmentBytes) })
  }

  #join(): number { return this.#cache.join(this.#keepBlock) }

  readonly #keepBlock: KeepBlock = (block, place, done) => { void this.#keep(block, place).finally(done) }

  get bytes(): number { return (this.#cache.segmentsOf(this.#handle) + (this.#fills.open ? 1 : 0)) * this.#cache.pool.segmentBytes }
  get filledBytes(): number { return this.#fills.filledBytes }

  // --- reads -----------------------------------------------------------------------------------------------------------------

  lookup(lba: number, sectors: number, hit: (lba: number, sectors: number, location: number) => void, miss: (lba: number, sectors: number) => void): void {
    const { map } = this.#cache, end = lba + sectors
    if (map.count === 0) { miss(lba, sectors); return }
    let from = lba, place = -1
    // Runs of neighbours that are neighbours in the region too, or all missing.
    const show = (to: number): void => {
      if (to === from) return
      if (place < 0) miss(from, to - from)
      else {
        this.hitBytes += (to - from) * 512
        hit(from, to - from, place * SECTORS_PER_BLOCK + (from % SECTORS_PER_BLOCK))
      }
      from = to
    }
    for (let at = lba; at < end;) {
      const block = Math.floor(at / SECTORS_PER_BLOCK), found = map.find(this.#handle, block)
      const expected = place < 0 ? -1 : place + block - Math.floor(from / SECTORS_PER_BLOCK)
      if (found !== expected || at === from) { show(at); place = found }
      if (found >= 0) map.hit(found)
      at = Math.min(end, (block + 1) * SECTORS_PER_BLOCK)
    }
    show(end)
  }

  /** The guest reads: what it misses is worth a place unless it scans. The stamp is for `fill`; negative: do not. */
  observe(lba: number, sectors: number): number {
    return !this.#scans.read(lba, sectors) && this.populating ? this.#stamp : -1
  }

  /** Bytes that the backing gave for a read that began at this stamp. Whole blocks of them are put in, if it may still be believed. */
  fill(stamp: number, lba: number, sectors: number, address: number): void {
    if (stamp !== this.#stamp) return
    const first = roundUp(lba, SECTORS_PER_BLOCK)
    for (let at = first; at + SECTORS_PER_BLOCK <= lba + sectors; at += SECTORS_PER_BLOCK) {
      this.#fills.add(at / SECTORS_PER_BLOCK, address + (at - lba) * 512, stamp)
    }
  }

  /** These blocks are not what they should be: the backing has them. */
  forget(lba: number, sectors: number): void {
    for (let at = lba - (lba % SECTORS_PER_BLOCK); at < lba + sectors; at += SECTORS_PER_BLOCK) this.#cache.map.remove(this.#handle, at / SECTORS_PER_BLOCK)
  }

  async #keep(block: number, place: number): Promise<void> {
    const stamp = this.#stamp, { buffers, pool } = this.#cache
    const memory = this.populating ? buffers.take() : undefined
    if (memory === undefined) return
    try {
      await operation((target) => pool.file.read(memory.address, BLOCK_BYTES, place * BLOCK_BYTES, target, 0))
      if (stamp === this.#stamp) this.#fills.add(block, memory.address, stamp)
    } finally {
      buffers.give(memory)
    }
  }

  // --- cuts --------------------------------------------------------------------------------------------------------------------

  /**
   * A cut is on the backing, and the index is about to forget it: its blocks that are whole and lie in this region stay
   * as clean, all others of them go. In slices, while the index still hides them.
   */
  async absorb(levels: readonly Extents[]): Promise<void> {
    this.#stamp++
    let since = 0
    for (const level of levels) {
      for (let i = 0; i < level.lba.length; i++) {
        const lba = level.lba[i]!, sectors = level.sectors[i]!
        const place = level.local && level.kind[i] === RUN.data ? level.location[i]! / SECTORS_PER_BLOCK - lba / SECTORS_PER_BLOCK : NaN
        this.#absorb(lba, sectors, place)
        since += sectors / SECTORS_PER_BLOCK
        if (since < limits.absorbBlocks) continue
        since = 0
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    this.#roomFor(0)
  }

  /** `shift`: from a block's number to its place, where it is one. */
  #absorb(lba: number, sectors: number, shift: number): void {
    const { map } = this.#cache, end = lba + sectors, aligned = Number.isInteger(shift)
    if (!aligned && sectors > limits.absorbZeroBlocksMax * SECTORS_PER_BLOCK) { this.#drop(); return }
    for (let at = lba - (lba % SECTORS_PER_BLOCK); at < end; at += SECTORS_PER_BLOCK) {
      const block = at / SECTORS_PER_BLOCK
      if (aligned && at >= lba && at + SECTORS_PER_BLOCK <= end) map.put(this.#handle, block, block + shift)
      else map.remove(this.#handle, block)
    }
  }

  // --- ownership -----------------------------------------------------------------------------------------------------------------

  /** This host serves under `next`, having taken over from `from`. `same`: the backing is as it was left then. */
  own(self: Member, from: Claim | null, next: Claim, same: boolean): void {
    if (this.#kept === null) this.#recall(next.volume)
    const ours = same && from !== null && sameMember(from.owner, self) && this.#kept !== null && this.#kept.epoch === from.epoch && this.#kept.nonce === from.nonce
    if (!ours) this.drop()
    this.#kept = { volume: next.volume, epoch: next.epoch, nonce: next.nonce }
  }

  /** What an earlier process of this host left, where it stopped cleanly. */
  #recall(volume: string): void {
    const kept = this.#cache.recall(volume, this.#keepBlock)
    if (kept === null) return
    this.#cache.drop(this.#handle)
    this.#handle = kept.handle
    this.#kept = kept
  }

  /** The claim says that nobody has the volume: what is here is kept for the next owner, should it be this host. */
  released(claim: Claim): void { this.#kept = { volume: claim.volume, epoch: claim.epoch, nonce: claim.nonce } }

  /** Nothing here is to be believed any more. */
  drop(): void {
    this.#drop()
    this.#kept = null
  }

  #drop(): void {
    this.#stamp++
    this.#cache.drop(this.#handle)
    this.#handle = this.#join()
  }

  /** For a checkpoint: what is kept, and under which handle. */
  get kept(): KeptVolume | null { return this.#kept === null ? null : { ...this.#kept, handle: this.#handle } }

  // --- bounds --------------------------------------------------------------------------------------------------------------------

  /** Within its quota with so much more; its oldest goes for what comes. */
  #roomFor(moreBytes: number): boolean {
    const { quotaBytes, logBytes } = this.#options
    const fits = (): boolean => quotaBytes === null || logBytes() + this.bytes + moreBytes <= quotaBytes
    while (!fits() && this.#cache.segmentsOf(this.#handle) > 0) this.#cache.reclaimOf(this.#handle)
    return fits()
  }

  /** Called now and then: what was missed shall not wait for more. */
  tick(): void { this.#fills.flush() }

  async close(): Promise<void> { await this.#fills.close() }
}
