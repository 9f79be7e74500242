/**
 * The index layer: an open-addressing hash from 4 KiB block to region sector in typed arrays (8 bytes a slot, at most
 * half full: 16 bytes a block). A block whose eight sectors are not one run of data is `mixed` and has eight
 * locations in a side table. Zero ranges are a set beneath: a sector without data here is zero if the set has it.
 */
import { assert } from './assert.js'
import { RUN, type Layer, type RegionSector, type RunKind, type RunList } from './layer.js'
import { SECTORS_PER_BLOCK } from './units.js'
import { ZeroSet } from './zero-set.js'

const FIRST_SLOTS = 64
/** Locations from here up are marks: below lies 1.9 TiB of region. */
const MARKS = 0xf000_0000
const NO_DATA = 0xffff_ffff
export const REGION_SECTORS_MAX = MARKS

export class IndexLayer implements Layer {
  /** Block number + 1; 0 is an empty slot. Entries are never removed: a block without data becomes mixed and empty. */
  #keys = new Uint32Array(FIRST_SLOTS)
  #values = new Uint32Array(FIRST_SLOTS)
  #used = 0
  #mixed = new Uint32Array(0)
  #mixedUsed = 0
  #dataSectors = 0
  readonly #zeros = new ZeroSet()
  #zeroSectors = 0

  /** Sectors with data, plus zero ranges as they were put (data that hides a zero counts twice). */
  get dirtySectors(): number { return this.#dataSectors + this.#zeroSectors }
  get empty(): boolean { return this.#dataSectors === 0 && this.#zeros.count === 0 }
  /** Bytes of RAM held by the tables. */
  get bytes(): number { return this.#keys.byteLength + this.#values.byteLength + this.#mixed.byteLength }

  // --- the hash --------------------------------------------------------------------------------------------------------------

  #slotOf(key: number): number {
    const mask = this.#keys.length - 1
    // Multiplicative hashing spreads neighbours, which guests write together.
    let slot = (Math.imul(key, 0x9e3779b1) >>> 7) & mask
    while (this.#keys[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const keys = this.#keys, values = this.#values
    this.#keys = new Uint32Array(keys.length * 2)
    this.#values = new Uint32Array(values.length * 2)
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] === 0) continue
      const slot = this.#slotOf(keys[i]!)
      this.#keys[slot] = keys[i]!
      this.#values[slot] = values[i]!
    }
  }

  #insert(block: number): number {
    assert(block < 0xffff_fffe, 'the guest disk is below 16 TiB')
    if ((this.#used + 1) * 2 > this.#keys.length) this.#grow()
    const key = block + 1
    const slot = this.#slotOf(key)
    if (this.#keys[slot] === 0) {
      this.#keys[slot] = key
      this.#values[slot] = NO_DATA
      this.#used++
    }
    return slot
  }

  // --- mixed blocks ------------------------------------------------------------------------------------------------------------

  /** Gives the block at `slot` eight locations of its own; returns the index of the first. */
  #makeMixed(slot: number): number {
    const value = this.#values[slot]!
    if (value >= MARKS && value !== NO_DATA) return (value - MARKS) * SECTORS_PER_BLOCK
    const entry = this.#mixedUsed++
    assert(MARKS + entry < NO_DATA, 'mixed blocks fit between the marks')
    const at = entry * SECTORS_PER_BLOCK
    if (at + SECTORS_PER_BLOCK > this.#mixed.length) {
      const grown = new Uint32Array(Math.max(SECTORS_PER_BLOCK * 16, this.#mixed.length * 2))
      grown.set(this.#mixed)
      this.#mixed = grown
    }
    for (let i = 0; i < SECTORS_PER_BLOCK; i++) this.#mixed[at + i] = value === NO_DATA ? NO_DATA : value + i
    this.#values[slot] = MARKS + entry
    return at
  }

  /** Location of one sector of the block in `slot`, or NO_DATA. */
  #sectorAt(slot: number, sector: number): number {
    const value = this.#values[slot]!
    if (value < MARKS) return value + sector
    return value === NO_DATA ? NO_DATA : this.#mixed[(value - MARKS) * SECTORS_PER_BLOCK + sector]!
  }

  #dataIn(slot: number): number {
    const value = this.#values[slot]!
    if (value < MARKS) return SECTORS_PER_BLOCK
    if (value === NO_DATA) return 0
    let count = 0
    for (let i = 0; i < SECTORS_PER_BLOCK; i++) if (this.#sectorAt(slot, i) !== NO_DATA) count++
    return count
  }

  // --- changes -------------------------------------------------------------------------------------------------------------------

  putData(lba: number, sectors: number, location: RegionSector): void {
    assert(location + sectors <= MARKS, 'a region location is below the marks')
    for (let done = 0; done < sectors;) {
      const block = Math.floor((lba + done) / SECTORS_PER_BLOCK), first = (lba + done) % SECTORS_PER_BLOCK
      const take = Math.min(SECTORS_PER_BLOCK - first, sectors - done)
      const slot = this.#insert(block)
      if (take === SECTORS_PER_BLOCK) {
        this.#dataSectors += SECTORS_PER_BLOCK - this.#dataIn(slot)
        this.#values[slot] = location + done
      } else {
        const at = this.#makeMixed(slot)
        for (let i = 0; i < take; i++) {
          if (this.#mixed[at + first + i] === NO_DATA) this.#dataSectors++
          this.#mixed[at + first + i] = location + done + i
        }
      }
      done += take
    }
  }

  putZero(lba: number, sectors: number): void {
    const end = lba + sectors
    const firstBlock = Math.floor(lba / SECTORS_PER_BLOCK), lastBlock = Math.floor((end - 1) / SECTORS_PER_BLOCK)
    // Whatever is fewer: the blocks of the range, or the blocks that are here.
    if (lastBlock - firstBlock < this.#keys.length) {
      for (let block = firstBlock; block <= lastBlock; block++) {
        const slot = this.#slotOf(block + 1)
        if (this.#keys[slot] !== 0) this.#hide(slot, block, lba, end)
      }
    } else {
      for (let slot = 0; slot < this.#keys.length; slot++) {
        const block = this.#keys[slot]! - 1
        if (block >= firstBlock && block <= lastBlock) this.#hide(slot, block, lba, end)
      }
    }
    this.#zeroSectors += this.#zeros.add(lba, end)
  }

  /** The block's sectors within [start, end) have no data any more: the zero set shows through. */
  #hide(slot: number, block: number, start: number, end: number): void {
    const first = block * SECTORS_PER_BLOCK
    if (start <= first && end >= first + SECTORS_PER_BLOCK) {
      this.#dataSectors -= this.#dataIn(slot)
      this.#values[slot] = NO_DATA
      return
    }
    if (this.#values[slot] === NO_DATA) return
    const at = this.#makeMixed(slot)
    for (let i = 0; i < SECTORS_PER_BLOCK; i++) {
      if (first + i < start || first + i >= end || this.#mixed[at + i] === NO_DATA) continue
      this.#mixed[at + i] = NO_DATA
      this.#dataSectors--
    }
  }

  // --- questions ------------------------------------------------------------------------------------------------------------------

  lookup(lba: number, sectors: number, out: RunList): void {
    for (let at = lba; at < lba + sectors;) {
      const block = Math.floor(at / SECTORS_PER_BLOCK), first = at % SECTORS_PER_BLOCK
      const take = Math.min(SECTORS_PER_BLOCK - first, lba + sectors - at)
      const slot = this.#slotOf(block + 1)
      if (this.#keys[slot] === 0) this.#withoutData(at, at + take, out)
      else if (this.#values[slot]! < MARKS) out.push(at, take, RUN.data, this.#values[slot]! + first)
      else this.#lookupMixed(slot, at, first, take, out)
      at += take
    }
  }

  #lookupMixed(slot: number, lba: number, first: number, take: number, out: RunList): void {
    for (let i = 0; i < take; i++) {
      const location = this.#sectorAt(slot, first + i)
      if (location === NO_DATA) this.#withoutData(lba + i, lba + i + 1, out)
      else out.push(lba + i, 1, RUN.data, location)
    }
  }

  #withoutData(start: number, end: number, out: RunList): void {
    for (let at = start; at < end;) {
      const next = this.#zeros.stretch(at, end)
      out.push(at, next - at, this.#zeros.has(at) ? RUN.zero : RUN.absent, 0)
      at = next
    }
  }

  scan(fromLba: number, visit: (lba: number, sectors: number, kind: RunKind, location: RegionSector) => boolean): void {
    const merged = new Merger(visit)
    const fromBlock = Math.floor(fromLba / SECTORS_PER_BLOCK)
    const blocks = this.#keys.filter((key) => key > fromBlock).sort()
    let at = fromLba
    for (const key of blocks) {
      const first = (key - 1) * SECTORS_PER_BLOCK
      if (!this.#scanZeros(at, first, merged)) return
      const slot = this.#slotOf(key)
      for (let i = Math.max(0, at - first); i < SECTORS_PER_BLOCK; i++) {
        const location = this.#sectorAt(slot, i)
        if (location !== NO_DATA) { if (!merged.add(first + i, 1, RUN.data, location)) return }
        else if (this.#zeros.has(first + i) && !merged.add(first + i, 1, RUN.zero, 0)) return
      }
      at = Math.max(at, first + SECTORS_PER_BLOCK)
    }
    if (this.#scanZeros(at, Infinity, merged)) merged.end()
  }

  #scanZeros(from: number, to: number, merged: Merger): boolean {
    for (let i = this.#zeros.firstAfter(from); i < this.#zeros.count && this.#zeros.startOf(i) < to; i++) {
      const start = Math.max(from, this.#zeros.startOf(i)), end = Math.min(to, this.#zeros.endOf(i))
      if (end > start && !merged.add(start, end - start, RUN.zero, 0)) return false
    }
    return true
  }
}

/** Joins neighbouring runs before they are shown. */
class Merger {
  readonly #visit: (lba: number, sectors: number, kind: RunKind, location: RegionSector) => boolean
  #lba = 0
  #sectors = 0
  #kind: RunKind = RUN.absent
  #location = 0

  constructor(visit: (lba: number, sectors: number, kind: RunKind, location: RegionSector) => boolean) { this.#visit = visit }

  add(lba: number, sectors: number, kind: RunKind, location: number): boolean {
    const follows = this.#sectors > 0 && this.#kind === kind && this.#lba + this.#sectors === lba &&
      (kind !== RUN.data || this.#location + this.#sectors === location)
    if (follows) { this.#sectors += sectors; return true }
    if (!this.end()) return false
    this.#lba = lba
    this.#sectors = sectors
    this.#kind = kind
    this.#location = location
    return true
  }

  end(): boolean {
    const more = this.#sectors === 0 || this.#visit(this.#lba, this.#sectors, this.#kind, this.#location)
    this.#sectors = 0
    return more
  }
}
