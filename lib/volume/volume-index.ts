/**
 * Where the newest version of each sector is: the owner's own log (`active`, `flushing`), then the inherited logs,
 * newest first, then the backing. Only acknowledged records are in it (R15); logs at or below base are dropped, so
 * an older log never shows a version that a newer one has already destaged (R12).
 */
import { assert } from '../core/assert.js'
import type { InheritedLog } from '../core/claim.js'
import { IndexLayer } from '../core/index-layer.js'
import { RUN, type Layer } from '../core/layer.js'
import { RunBuffer } from '../core/run-list.js'

export const SOURCE = { backing: 0, local: 1, zero: 2, remote: 3 } as const
export type Source = (typeof SOURCE)[keyof typeof SOURCE]

/** One span of one log. */
export interface Level {
  /** Null: the holder's map is not here yet, so every read asks the holder. */
  layer: Layer | null
  /** Set for a log that only other hosts hold. */
  readonly remote: InheritedLog | null
  /** For messages to people. */
  readonly label: string
}

/** Visits one run of a lookup; `level` is the level that answered (null for the backing). */
export type RunVisitor = (source: Source, level: Level | null, lba: number, sectors: number, location: number) => void

export class VolumeIndex {
  #active: Level = ownLevel('own')
  #flushing: Level | null = null
  /** Oldest first, as in the claim. */
  #inherited: Level[] = []
  /** Newest first: what a lookup walks. */
  #levels: Level[] = [this.#active]
  readonly #scratch: RunBuffer[] = []

  get active(): Layer { return this.#active.layer! }
  get flushing(): Layer | null { return this.#flushing?.layer ?? null }
  get inherited(): readonly Level[] { return this.#inherited }

  /** Bytes above base as far as they are known here; remote logs without a map count as zero. */
  get dirtyBytes(): number {
    let sectors = 0
    for (const level of this.#levels) sectors += level.layer?.dirtySectors ?? 0
    return sectors * 512
  }

  get empty(): boolean {
    return this.#levels.every((level) => level.layer !== null && level.layer.empty)
  }

  /** `visit` must not look up again before this returns. */
  resolve(lba: number, sectors: number, visit: RunVisitor): void { this.#walk(0, lba, sectors, visit) }

  /** Resolves what `level` turned out not to have; from the top when that level has been retired meanwhile. */
  resolveBelow(level: Level, lba: number, sectors: number, visit: RunVisitor): void {
    this.#walk(this.#levels.indexOf(level) + 1, lba, sectors, visit)
  }

  #walk(depth: number, lba: number, sectors: number, visit: RunVisitor): void {
    const level = this.#levels[depth]
    if (level === undefined) { visit(SOURCE.backing, null, lba, sectors, 0); return }
    if (level.layer === null) { visit(SOURCE.remote, level, lba, sectors, 0); return }
    if (level.layer.empty) { this.#walk(depth + 1, lba, sectors, visit); return }
    const runs = (this.#scratch[depth] ??= new RunBuffer())
    runs.reset()
    level.layer.lookup(lba, sectors, runs)
    for (let i = 0; i < runs.count; i++) {
      const from = runs.lba[i]!, length = runs.sectors[i]!, kind = runs.kind[i]!
      if (kind === RUN.absent) this.#walk(depth + 1, from, length, visit)
      else if (kind === RUN.zero) visit(SOURCE.zero, level, from, length, 0)
      else visit(level.remote === null ? SOURCE.local : SOURCE.remote, level, from, length, runs.location[i]!)
    }
  }

  /** Is any of these sectors in the own log and not destaged? (write-through reads wait for those) */
  touchesOwn(lba: number, sectors: number): boolean {
    let hit = false
    const runs = (this.#scratch[0] ??= new RunBuffer())
    for (const layer of [this.active, this.flushing]) {
      if (layer === null || layer.empty) continue
      runs.reset()
      layer.lookup(lba, sectors, runs)
      for (let i = 0; i < runs.count; i++) hit ||= runs.kind[i] !== RUN.absent
    }
    return hit
  }

  /** A cut begins: what is active now is immutable until `retire`. */
  freeze(): void {
    assert(this.#flushing === null, 'one cut at a time')
    this.#flushing = this.#active
    this.#active = ownLevel('own')
    this.#relink()
  }

  /** What a cut that begins now has to destage, oldest first; immutable from here on. */
  cutLevels(): readonly Level[] {
    assert(this.#flushing !== null, 'a cut has been frozen')
    return [...this.#inherited, this.#flushing]
  }

  /** These levels are on the backing, flushed, and base is durable: they are hidden from now on (R12). */
  retire(levels: readonly Level[]): void {
    if (this.#flushing !== null && levels.includes(this.#flushing)) this.#flushing = null
    this.#inherited = this.#inherited.filter((level) => !levels.includes(level))
    this.#relink()
  }

  /** A running owner's claim change: its own log so far becomes the newest inherited one, still read locally. */
  sealOwn(): void {
    if (this.#flushing !== null) this.#inherited.push(this.#flushing)
    if (!this.active.empty) this.#inherited.push(this.#active)
    this.#flushing = null
    this.#active = ownLevel('own')
    this.#relink()
  }

  /** A new owner's start: inherited logs, oldest first. */
  inherit(levels: readonly Level[]): void {
    this.#active = ownLevel('own')
    this.#flushing = null
    this.#inherited = [...levels]
    this.#relink()
  }

  #relink(): void {
    this.#levels = [this.#active, ...(this.#flushing === null ? [] : [this.#flushing]), ...[...this.#inherited].reverse()]
  }
}

const ownLevel = (label: string): Level => ({ layer: new IndexLayer(), remote: null, label })
