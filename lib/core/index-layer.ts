/**
 * The index layer: an open-addressing hash from 4 KiB block to region sector in typed arrays, 8 bytes a slot. It grows
 * in small steps, so that it is never less than two thirds full: with the sum of the block at most 16 bytes of RAM a block. A block whose eight sectors
 * are not one run of data is `mixed` and has eight locations in a side table. Zero ranges are a set beneath: a sector
 * without data here is zero if the set has it.
 */
import { assert } from './assert.js'
import { RUN, type Layer, type RegionSector, type RunKind, type RunList } from './layer.js'
import { GUEST_SECTORS_MAX, SECTORS_PER_BLOCK } from './units.js'
import { ZeroSet } from './zero-set.js'

const FIRST_SLOTS = 64
/** Between two growths the table is 0.67 to 0.8 full: a block costs 10 to 12 bytes here, and 4 for its sum in `BlockSums`. */
const LOAD_MAX = 0.8
const GROWTH = 1.2
/** While a layer is built all at once: fewer copies of the table, and one more at the end. */
const BUILD_GROWTH = 2
const TWO_32 = 0x1_0000_0000
/** Locations from here up are marks: below lies 1.9 TiB of region. */
const MARKS = 0xf000_0000
const NO_DATA = 0xffff_ffff
export const REGION_SECTORS_MAX = MARKS

export class IndexLayer implements Layer {
  /** Block number + 1; 0 is an empty slot. Entries are never removed: a block without data becomes mixed and empty. */
  #keys = new Uint32Array(FIRST_SLOTS)
  #values = new Uint32Array(FIRST_SLOTS)
  #used = 0
  #growth = GROWTH
  /** Eight locations an entry; in a free entry the first one is the next free entry. */
  #mixed = new Uint32Array(0)
  #mixedUsed = 0
  #mixedFree = NO_DATA
  #dataSectors = 0
  readonly #zeros = new ZeroSet()
  #zeroSectors = 0
  /** Sectors that are in the zero set and have newer data above it. */
  #hiddenZeros = 0
  /** The keys sorted, between two pages of one scan. */
  #order: Uint32Array | null = null

  get dirtySectors(): number { return this.#dataSectors + this.#zeroSectors - this.#hiddenZeros }
  get empty(): boolean { return this.#dataSectors === 0 && this.#zeros.count === 0 }
  /** Bytes of RAM held by the hash, and by the side table of mixed blocks. */
  get hashBytes(): number { return this.#keys.byteLength + this.#values.byteLength }
  get mixedBytes(): number { return this.#mixed.byteLength }

  // --- the hash --------------------------------------------------------------------------------------------------------------

  #slotOf(key: number): number {
    const keys = this.#keys
    // Multiplicative hashing spreads neighbours, which guests write together. Slots follow the hash's order, so growing
    // walks both tables from front to back.
    let slot = Math.floor(((Math.imul(key, 0x9e3779b1) >>> 0) * keys.length) / TWO_32)
    while (keys[slot] !== 0 && keys[slot] !== key) slot = slot + 1 === keys.length ? 0 : slot + 1
    return slot
  }

  #grow(): void { this.#resize(Math.ceil(this.#keys.length * this.#growth)) }

  /** Many blocks at once: grows in large steps until `built`. */
  building(): void { this.#growth = BUILD_GROWTH }

  built(): void {
    this.#growth = GROWTH
    const slots = Math.max(FIRST_SLOTS, Math.ceil((this.#used + 1) / LOAD_MAX))
    if (slots * GROWTH < this.#keys.length) this.#resize(slots)
  }

  #resize(slots: number): void {
    const keys = this.#keys, values = this.#values
    this.#keys = new Uint32Array(slots)
    this.#values = new Uint32Array(slots)
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] === 0) continue
      const slot = this.#slotOf(keys[i]!)
      this.#keys[slot] = keys[i]!
      this.#values[slot] = values[i]!
    }
  }

  #insert(block: number): number {
    if (this.#used + 1 > this.#keys.length * LOAD_MAX) this.#grow()
    const key = block + 1
    const slot = this.#slotOf(key)
    if (this.#keys[slot] === 0) {
      this.#keys[slot] = key
      this.#values[slot] = NO_DATA
      this.#used++
      this.#order = null
    }
    return slot
  }

  // --- mixed blocks ------------------------------------------------------------------------------------------------------------

  /** Gives the block at `slot` eight locations of its own; returns the index of the first. */
  #makeMixed(slot: number): number {
    const value = this.#values[slot]!
    if (isMixed(value)) return (value - MARKS) * SECTORS_PER_BLOCK
    const entry = this.#takeMixed()
    const at = entry * SECTORS_PER_BLOCK
    for (let i = 0; i < SECTORS_PER_BLOCK; i++) this.#mixed[at + i] = value === NO_DATA ? NO_DATA : value + i
    this.#values[slot] = MARKS + entry
    return at
  }

  #takeMixed(): number {
    const free = this.#mixedFree
    if (free !== NO_DATA) {
      this.#mixedFree = this.#mixed[free * SECTORS_PER_BLOCK]!
      return free
    }
    const entry = this.#mixedUsed++
    assert(MARKS + entry < NO_DATA, 'mixed blocks fit between the marks')
    if ((entry + 1) * SECTORS_PER_BLOCK > this.#mixed.length) {
      const grown = new Uint32Array(Math.max(SECTORS_PER_BLOCK * 16, this.#mixed.length * 2))
      grown.set(this.#mixed)
      this.#mixed = grown
    }
    return entry
  }

  /** The block at `slot` becomes one run, or nothing; a side entry it had is free again. */
  #setWhole(slot: number, value: number): void {
    const before = this.#values[slot]!
    if (isMixed(before)) {
      this.#mixed[(before - MARKS) * SECTORS_PER_BLOCK] = this.#mixedFree
      this.#mixedFree = before - MARKS
    }
    this.#values[slot] = value
  }

  /** A mixed block that has become one run again gives its side entry back. */
  #simplify(slot: number, at: number): void {
    const first = this.#mixed[at]!
    for (let i = 1; i < SECTORS_PER_BLOCK; i++) {
      if (this.#mixed[at + i] !== (first === NO_DATA ? NO_DATA : first + i)) return
    }
    this.#setWhole(slot, first)
  }

  /** Location of one sector of the block in `slot`, or NO_DATA. */
  #sectorAt(slot: number, sector: number): number {
    const value = this.#values[slot]!
    if (value < MARKS) return value + sector
    return value === NO_DATA ? NO_DATA : this.#mixed[(value - MARKS) * SECTORS_PER_BLOCK + sector]!
  }

  // --- changes -------------------------------------------------------------------------------------------------------------------

  putData(lba: number, sectors: number, location: RegionSector): void {
    assert(lba + sectors <= GUEST_SECTORS_MAX, 'the guest disk is below 16 TiB')
    assert(location + sectors <= MARKS, 'a region location is below the marks')
    for (let done = 0; done < sectors;) {
      const block = Math.floor((lba + done) / SECTORS_PER_BLOCK), first = (lba + done) % SECTORS_PER_BLOCK
      const take = Math.min(SECTORS_PER_BLOCK - first, sectors - done)
      const slot = this.#insert(block)
      if (take === SECTORS_PER_BLOCK && this.#zeros.count === 0 && !isMixed(this.#values[slot]!)) {
        // Nearly every write is this: one block, all of it or nothing before.
        if (this.#values[slot] === NO_DATA) this.#dataSectors += SECTORS_PER_BLOCK
        this.#values[slot] = location + done
        done += take
        continue
      }
      this.#countData(slot, lba + done, first, take, 1)
      if (take === SECTORS_PER_BLOCK) this.#setWhole(slot, location + done)
      else {
        const at = this.#makeMixed(slot)
        for (let i = 0; i < take; i++) this.#mixed[at + first + i] = location + done + i
        this.#simplify(slot, at)
      }
      done += take
    }
  }

  putZero(lba: number, sectors: number): void {
    const end = lba + sectors
    assert(end <= GUEST_SECTORS_MAX, 'the guest disk is below 16 TiB')
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
    if (this.#values[slot] === NO_DATA) return
    const lba = block * SECTORS_PER_BLOCK
    const first = Math.max(0, start - lba), take = Math.min(SECTORS_PER_BLOCK, end - lba) - first
    this.#countData(slot, lba + first, first, take, -1)
    if (take === SECTORS_PER_BLOCK) { this.#setWhole(slot, NO_DATA); return }
    const at = this.#makeMixed(slot)
    this.#mixed.fill(NO_DATA, at + first, at + first + take)
    this.#simplify(slot, at)
  }

  /** Counts sectors that get data (sign 1: those without) or lose it (sign -1: those with), before the change is made. */
  #countData(slot: number, lba: number, first: number, take: number, sign: 1 | -1): void {
    for (let i = 0; i < take; i++) {
      if ((this.#sectorAt(slot, first + i) === NO_DATA) !== (sign > 0)) continue
      this.#dataSectors += sign
      if (this.#zeros.count > 0 && this.#zeros.has(lba + i)) this.#hiddenZeros += sign
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
    const blocks = this.#order ??= this.#keys.filter((key) => key > 0).sort()
    let at = fromLba
    for (let i = firstAbove(blocks, fromBlock); i < blocks.length; i++) {
      const key = blocks[i]!
      const first = (key - 1) * SECTORS_PER_BLOCK
      if (!this.#scanZeros(at, first, merged)) return
      if (!this.#scanBlock(this.#slotOf(key), first, Math.max(0, at - first), merged)) return
      at = first + SECTORS_PER_BLOCK
    }
    if (this.#scanZeros(at, Infinity, merged) && merged.end()) this.#order = null
  }

  #scanBlock(slot: number, lba: number, from: number, merged: Merger): boolean {
    const value = this.#values[slot]!
    if (value < MARKS) return merged.add(lba + from, SECTORS_PER_BLOCK - from, RUN.data, value + from)
    for (let i = from; i < SECTORS_PER_BLOCK; i++) {
      const location = this.#sectorAt(slot, i)
      if (location !== NO_DATA) {
        if (!merged.add(lba + i, 1, RUN.data, location)) return false
      } else if (this.#zeros.has(lba + i) && !merged.add(lba + i, 1, RUN.zero, 0)) return false
    }
    return true
  }

  #scanZeros(from: number, to: number, merged: Merger): boolean {
    for (let i = this.#zeros.firstAfter(from); i < this.#zeros.count && this.#zeros.startOf(i) < to; i++) {
      const start = Math.max(from, this.#zeros.startOf(i)), end = Math.min(to, this.#zeros.endOf(i))
      if (end > start && !merged.add(start, end - start, RUN.zero, 0)) return false
    }
    return true
  }
}

/** Index of the first key above `key`. */
function firstAbove(keys: Uint32Array, key: number): number {
  let low = 0, high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle]! > key) high = middle
    else low = middle + 1
  }
  return low
}

const isMixed = (value: number): boolean => value >= MARKS && value !== NO_DATA

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
