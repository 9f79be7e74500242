/** One log in the region: records in segments, in order, and which of them are stored. */
import { assert } from '../core/assert.js'
import type { BlockSums } from '../core/block-sums.js'
import { IndexLayer } from '../core/index-layer.js'
import type { Layer } from '../core/layer.js'
import { ENTRY, HEADER_BYTES, entryCrc, entryKind, entryLba, entryPayload, entrySectors, inBlocks, parseHeader, type RecordHeader } from '../core/record.js'
import { BLOCK_BYTES, SECTORS_PER_BLOCK, won as toWon, type Epoch, type Won } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { CompletionTarget } from '../ports/io.js'
import type { CopyStart, LogCut, RecordVisitor, RegionLog } from '../ports/region.js'
import { crc } from '../io/crc.js'
import { SEGMENT_HEADER_BYTES, encodeSegmentHeader, segmentOffset, type SegmentHeader } from './layout.js'
import { eachSummary } from './read-summaries.js'
import type { FoundSegment } from './scan.js'
import type { SegmentPool } from './segment-pool.js'
import { SummaryBuilder, applySummary } from './summary.js'
import { RecordDamage, verifyRun } from './verify-records.js'

export interface LogSegment {
  readonly index: number
  readonly ordinal: number
  readonly firstWon: Won
  readonly useSequence: number
  readonly previousHeaderCrc: number
  usedBytes: number
  /** Records in it, and where; no places where the summary has them. */
  count: number
  offsets: number[] | null
  /** Collects until the segment is left and power-safe; null for one that goes without, or has it. */
  builder: SummaryBuilder | null
  /** A record in it was not written as durable: only a flush makes it power-safe. */
  volatile: boolean
  /** Nothing in the segment counts before its header is on the disk: 0 until then, after that the length or -errno of its write. */
  headerResult: number
  /** Writes under way, the header's among them: while there are any, the segment cannot be given back. */
  writes: number
  left: boolean
  released: boolean
}

interface Append { readonly won: Won; readonly segment: LogSegment; readonly target: CompletionTarget; readonly token: number; result: number }

type Visit = (header: RecordHeader, offsetBytes: number) => void

export interface LogIdentity { readonly volume: string; readonly epoch: Epoch; readonly start: Won; readonly nonce: string; readonly copied: boolean }

export class SegmentedLog implements RegionLog, CompletionTarget {
  readonly volume: string
  readonly epoch: Epoch
  readonly start: Won
  readonly nonce: string
  readonly #copied: boolean
  readonly #pool: SegmentPool
  #segments: LogSegment[] = []
  #firstWon: Won
  #appendedWon: Won
  #storedWon: Won
  /** A number is never used twice in a log: what a trimmed segment leaves on the disk stays older than what is here. */
  #nextOrdinal = 0
  lastHeaderCrc = 0
  #deleted = false
  /** Appends under way by token; completed ones wait here for their segment's header. */
  readonly #appends: (Append | null)[] = []
  /** Stored out of order, ahead of #storedWon. */
  readonly #early = new Set<Won>()
  readonly #onWritten: (() => void)[] = []

  constructor(pool: SegmentPool, id: LogIdentity, from: CopyStart = { after: id.start, previousHeaderCrc: 0 }) {
    this.volume = id.volume
    this.epoch = id.epoch
    this.start = id.start
    this.nonce = id.nonce
    this.#copied = id.copied
    this.#pool = pool
    this.#firstWon = toWon(from.after + 1)
    this.#appendedWon = this.#storedWon = from.after
    this.lastHeaderCrc = from.previousHeaderCrc
  }

  get storedLength(): number { return this.#storedWon - this.start }
  get bytes(): number { return this.#segments.length * this.#pool.segmentBytes }
  get deleted(): boolean { return this.#deleted }
  get segments(): readonly LogSegment[] { return this.#segments }

  // --- recovery ----------------------------------------------------------------------------------------------------------------

  /** A segment found at open, in order. The first one says where the log begins here. */
  adopt({ header, offsets, count, usedBytes, lastHeaderCrc }: FoundSegment): void {
    if (this.#segments.length === 0) this.#firstWon = header.firstWon
    const { index, ordinal, firstWon, useSequence, previousHeaderCrc } = header
    this.#segments.push({
      // What a summary vouches for is the whole segment: the log goes on in another one.
      usedBytes: offsets === null ? this.#pool.segmentBytes : usedBytes,
      index, ordinal, firstWon, useSequence, previousHeaderCrc, count, offsets, builder: null, volatile: true,
      headerResult: SEGMENT_HEADER_BYTES, writes: 0, left: true, released: false,
    })
    this.#nextOrdinal = ordinal + 1
    this.#appendedWon = this.#storedWon = toWon(firstWon + count - 1)
    if (count > 0) this.lastHeaderCrc = lastHeaderCrc
  }

  // --- appending -----------------------------------------------------------------------------------------------------------------

  get #open(): LogSegment | undefined { return this.#segments.at(-1) }

  /** Room for the summary stays free, whatever entries the record has. */
  #fits(segment: LogSegment, lengthBytes: number): boolean {
    return segment.usedBytes + lengthBytes + (segment.builder?.roomBytes ?? 0) <= this.#pool.segmentBytes
  }

  hasRoom(lengthBytes: number): boolean {
    const open = this.#open
    if (open !== undefined && this.#fits(open, lengthBytes)) return true
    return this.#pool.ready(open === undefined ? 1 : limits.regionReservedSegments + 1)
  }

  append(address: number, lengthBytes: number, won: Won, headerCrc: number, durable: boolean, target: CompletionTarget, token: number): number {
    assert(!this.#deleted, 'nothing is appended to a log that was let go of: it would have a beginning no more')
    assert(won === this.#appendedWon + 1, `record ${won} follows ${this.#appendedWon}`)
    assert(lengthBytes % 4096 === 0 && lengthBytes <= this.#pool.segmentBytes - SEGMENT_HEADER_BYTES, 'a record fits a segment')
    let segment = this.#open
    // H13: a record is never split; what is left of the segment stays empty.
    if (segment === undefined || !this.#fits(segment, lengthBytes)) segment = this.#openSegment(won)
    const offset = segmentOffset(segment.index, this.#pool.segmentBytes) + segment.usedBytes
    segment.usedBytes += lengthBytes
    segment.count++
    segment.offsets!.push(offset)
    segment.volatile ||= !durable
    if (segment.builder !== null) this.#pool.summarize(segment.builder, address)
    if (segment.builder?.full === true) segment.builder = null
    this.#appendedWon = won
    this.lastHeaderCrc = headerCrc
    let slot = this.#appends.indexOf(null)
    if (slot < 0) slot = this.#appends.push(null) - 1
    this.#appends[slot] = { won, segment, target, token, result: 0 }
    segment.writes++
    this.#pool.write(address, lengthBytes, offset, durable, this, slot)
    return offset
  }

  #openSegment(firstWon: Won): LogSegment {
    const segment: LogSegment = {
      index: this.#pool.take(), ordinal: this.#nextOrdinal++, firstWon, usedBytes: SEGMENT_HEADER_BYTES, useSequence: this.#pool.nextUse(),
      previousHeaderCrc: this.lastHeaderCrc, count: 0, offsets: [], builder: new SummaryBuilder(this.#pool.segmentBytes), volatile: false, headerResult: 0, writes: 0,
      left: false, released: false,
    }
    const before = this.#open
    this.#segments.push(segment)
    if (before !== undefined) this.#leave(before)
    this.#writeHeader(segment, 0, (result) => {
      segment.headerResult = result
      this.#finish(segment, result)
    })
    return segment
  }

  /** The segment as its header, and those who look for it, know it. */
  #headerOf({ index, ordinal, firstWon, useSequence, previousHeaderCrc }: LogSegment): SegmentHeader {
    const { volume, epoch, start, nonce } = this
    return { incarnation: this.#pool.incarnation, index, useSequence, volume, epoch, start, nonce, ordinal, firstWon, previousHeaderCrc, deletedUse: 0, copied: this.#copied }
  }

  #writeHeader(segment: LogSegment, deletedUse: number, done: (result: number) => void): void {
    const memory = new AlignedMemory(SEGMENT_HEADER_BYTES), header = this.#headerOf(segment)
    encodeSegmentHeader(deletedUse === 0 ? header : { ...header, previousHeaderCrc: 0, deletedUse }, memory.bytes, crc)
    segment.writes++
    this.#pool.write(memory.address, SEGMENT_HEADER_BYTES, segmentOffset(segment.index, this.#pool.segmentBytes), true, {
      complete: (_token, result) => {
        memory.free()
        this.#written(segment)
        done(result)
      },
    }, 0)
  }

  #written(segment: LogSegment): void {
    segment.writes--
    if (segment.writes === 0) {
      if (segment.left && !segment.volatile) this.#writeSummary(segment)
      if (segment.released) this.#pool.give(segment.index)
    }
    for (const wake of this.#onWritten.splice(0)) wake()
  }

  // --- summaries -----------------------------------------------------------------------------------------------------------------

  /**
   * The log goes on elsewhere: the segment gets its summary when all of it is power-safe, and never before. A power cut
   * may keep the summary and lose a record that was only in the disk's cache; recovery would take it for stored.
   */
  #leave(segment: LogSegment): void {
    segment.left = true
    if (segment.builder === null) return
    if (segment.volatile) this.#pool.awaitFlush({ quiet: () => segment.writes === 0, powerSafe: () => this.#writeSummary(segment) })
    else if (segment.writes === 0) this.#writeSummary(segment)
  }

  #writeSummary(segment: LogSegment): void {
    const { builder } = segment
    if (builder === null || segment.released || this.#pool.failure !== null) return
    segment.builder = null
    const memory = new AlignedMemory(builder.lengthBytes)
    builder.encode(this.#headerOf(segment), memory.bytes, crc)
    segment.writes++
    this.#pool.writeSummary(memory, segmentOffset(segment.index + 1, this.#pool.segmentBytes) - builder.lengthBytes, () => this.#written(segment))
  }

  complete(slot: number, result: number): void {
    const append = this.#appends[slot]!, { segment } = append
    append.result = result
    this.#written(segment)
    const { headerResult } = append.segment
    if (result < 0) this.#report(slot, result)
    else if (headerResult !== 0) this.#report(slot, headerResult < 0 ? headerResult : result)
  }

  /** The segment's header is there (or failed): records that waited for it are reported. */
  #finish(segment: LogSegment, headerResult: number): void {
    for (let slot = 0; slot < this.#appends.length; slot++) {
      const append = this.#appends[slot]
      if (append === null || append === undefined || append.segment !== segment || append.result === 0) continue
      this.#report(slot, headerResult < 0 ? headerResult : append.result)
    }
  }

  #report(slot: number, result: number): void {
    const { won, target, token } = this.#appends[slot]!
    this.#appends[slot] = null
    if (result > 0) {
      this.#early.add(won)
      while (this.#early.delete(toWon(this.#storedWon + 1))) this.#storedWon = toWon(this.#storedWon + 1)
    }
    target.complete(token, result)
  }

  // --- letting go --------------------------------------------------------------------------------------------------------------------

  trim(base: Won): void {
    while (this.#segments.length > 1 && this.#segments[1]!.firstWon <= base + 1) this.#release(this.#segments.shift()!)
    // In a full region the last segment goes too, once nothing in it counts: with few segments nothing else may be left.
    const last = this.#open
    if (this.#pool.free <= limits.regionReservedSegments && last !== undefined && last.writes === 0 && this.#appendedWon <= base) {
      for (const segment of this.#segments.splice(0)) this.#release(segment)
    }
    this.#firstWon = this.#segments[0]?.firstWon ?? toWon(this.#appendedWon + 1)
  }

  /**
   * Frees everything. Each segment first gets a tombstone, and none is given back before all of them are power-safe:
   * a segment that is used again leaves a hole, and a log with a hole must not look alive at the next open.
   */
  async delete(): Promise<void> {
    this.#deleted = true
    const segments = this.#segments.splice(0), deletedUse = this.#pool.lastUse
    // The header's own write may still be under way; the ring keeps no order between the two.
    while (segments.some((segment) => segment.writes > 0)) await new Promise<void>((resolve) => this.#onWritten.push(resolve))
    const results = await Promise.all(segments.map((segment) => new Promise<number>((resolve) => this.#writeHeader(segment, deletedUse, resolve))))
    // After a failed write the region takes no more writes: the segments are of no use to anybody.
    if (results.every((result) => result > 0)) for (const segment of segments) this.#release(segment)
  }

  #release(segment: LogSegment): void {
    segment.released = true
    if (this.#places?.segment === segment) this.#places = null
    segment.builder = null
    if (segment.writes === 0) this.#pool.give(segment.index)
  }

  // --- reading back --------------------------------------------------------------------------------------------------------------------

  async buildLayer(kept: number, base: Won): Promise<Layer> {
    const layer = new IndexLayer(), { from, to, needed } = this.#above(kept, base)
    layer.building()
    const put: Visit = (header, offset) => applyRecord(layer, this.#pool.sums, header, offset)
    for (let i = 0; i < needed.length;) {
      let next = i
      while (next < needed.length && needed[next]!.offsets === null) next++
      await this.#applySummaries(layer, needed.slice(i, next), from, to)
      if (next < needed.length) await this.#readHeaders(needed[next]!, from, to, put)
      i = next + 1
    }
    layer.built()
    return layer
  }

  async buildCuts(kept: number, base: Won): Promise<LogCut[]> {
    const cuts: LogCut[] = [], { from, to, needed } = this.#above(kept, base)
    let layer = new IndexLayer(), flushed: Won | null = null
    for (const segment of needed) await this.#readHeaders(segment, from, to, (header, offset) => {
      // A flush was answered before this record was made: what it vouches for has risen.
      if (flushed !== null && header.flushedWon > flushed) {
        cuts.push({ layer, cut: toWon(header.won - 1) })
        layer = new IndexLayer()
      }
      flushed = header.flushedWon
      applyRecord(layer, this.#pool.sums, header, offset)
    })
    cuts.push({ layer, cut: toWon(to) })
    return cuts
  }

  async verify(base: Won, to: Won, checked?: RecordVisitor): Promise<void> {
    const kept = Math.min(to, this.#storedWon) - this.start
    if (kept <= 0 || this.start + kept <= base) return
    const { from, to: last, needed } = this.#above(kept, base)
    for (const segment of needed) {
      const { firstWon, count, usedBytes, index } = segment, offsets = await this.#placesIn(segment)
      const first = Math.max(from, firstWon), end = Math.min(last + 1, firstWon + count)
      const run = {
        fromBytes: offsets[first - firstWon]!, count: end - first,
        toBytes: offsets[end - firstWon] ?? segmentOffset(index, this.#pool.segmentBytes) + usedBytes,
      }
      await verifyRun(this.#pool.file, run, (i, bytes, offset) => this.#header(toWon(first + i), bytes, offset), (i, offset) => this.#rotten(toWon(first + i), offset, 'its data is damaged'), checked)
    }
  }

  /** The records above `base` that count, first and last, and the segments that have them. */
  #above(kept: number, base: Won): { readonly from: number; readonly to: number; readonly needed: readonly LogSegment[] } {
    const from = Math.max(this.#firstWon, base + 1), to = this.start + kept
    assert(to <= this.#storedWon, 'what is kept is stored')
    assert(from === base + 1 || from <= this.start + 1, 'what is above base is here')
    return { from, to, needed: this.#segments.filter(({ firstWon, count }) => firstWon <= to && firstWon + count > from) }
  }

  async #applySummaries(layer: IndexLayer, segments: readonly LogSegment[], from: number, to: number): Promise<void> {
    const unread: LogSegment[] = [], { file, segmentBytes } = this.#pool
    await eachSummary(file, segments.map((segment) => this.#headerOf(segment)), segmentBytes, (i, fields, bytes) => {
      const { index, firstWon, count } = segments[i]!
      const applied = unread.length === 0 && fields !== null && fields.count === count &&
        applySummary(layer, bytes, fields, segmentOffset(index, segmentBytes), Math.max(0, from - firstWon), Math.min(count, to - firstWon + 1))
      if (!applied) unread.push(segments[i]!)
    })
    // It was good when the region was opened. Records are put in in their order, so those behind it are read as well.
    for (const segment of unread) await this.#readHeaders(segment, from, to, (header, offset) => applyRecord(layer, this.#pool.sums, header, offset))
  }

  /** Of one segment only: order = "flush" asks for the same one with every cut. */
  #places: { readonly segment: LogSegment; readonly offsets: number[] } | null = null

  async #placesIn(segment: LogSegment): Promise<number[]> {
    if (segment.offsets !== null) return segment.offsets
    if (this.#places?.segment !== segment) this.#places = { segment, offsets: await this.#walk(segment) }
    return this.#places.offsets
  }

  /** Where a segment's records are, from one header to the next. */
  async #walk(segment: LogSegment): Promise<number[]> {
    const memory = new AlignedMemory(HEADER_BYTES), places: number[] = []
    try {
      let at = segmentOffset(segment.index, this.#pool.segmentBytes) + SEGMENT_HEADER_BYTES
      for (let i = 0; i < segment.count; i++) {
        await operation((target) => this.#pool.file.read(memory.address, HEADER_BYTES, at, target, 0))
        places.push(at)
        at += this.#header(toWon(segment.firstWon + i), memory.bytes, at).lengthBytes
      }
    } finally {
      memory.free()
    }
    return places
  }

  /** Headers of a segment's records from `from` to `to`, in order. */
  async #readHeaders(segment: LogSegment, from: number, to: number, visit: Visit): Promise<void> {
    const { firstWon, count } = segment, offsets = await this.#placesIn(segment)
    const memory = new AlignedMemory(HEADER_BYTES * limits.headerReadsMax), last = Math.min(to, firstWon + count - 1)
    try {
      for (let won = Math.max(from, firstWon); won <= last; won += limits.headerReadsMax) {
        const n = Math.min(limits.headerReadsMax, last - won + 1)
        await allEnded(Array.from({ length: n }, (_, i) => operation((target) =>
          this.#pool.file.read(memory.address + i * HEADER_BYTES, HEADER_BYTES, offsets[won + i - firstWon]!, target, 0))))
        for (let i = 0; i < n; i++) {
          const offset = offsets[won + i - firstWon]!
          visit(this.#header(toWon(won + i), memory.bytes.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES), offset), offset)
        }
      }
    } finally {
      memory.free()
    }
  }

  #rotten(won: Won, offset: number, what: string): RecordDamage {
    return new RecordDamage(won, offset, what, `region ${this.#pool.file.path}: record ${won} of volume ${this.volume}, epoch ${this.epoch}, at byte ${offset} ` +
      `was good and is not any more (${what})`)
  }

  #header(won: Won, bytes: Uint8Array, offset: number): RecordHeader {
    const header = parseHeader(bytes, crc)
    if ('problem' in header || header.won !== won || header.nonce !== this.nonce) {
      throw this.#rotten(won, offset, 'problem' in header ? header.problem : 'another record is there')
    }
    return header
  }
}

/** Puts a record's entries into a layer; `offsetBytes` is the record's place in the region. */
export function applyRecord(layer: Layer, sums: BlockSums, header: RecordHeader, offsetBytes: number): void {
  for (let i = 0; i < header.entryCount; i++) {
    const lba = entryLba(header, i), sectors = entrySectors(header, i), payload = entryPayload(header, i)
    if (entryKind(header, i) !== ENTRY.data) { layer.putZero(lba, sectors); continue }
    layer.putData(lba, sectors, (offsetBytes + payload) / 512)
    if (sectors === SECTORS_PER_BLOCK && inBlocks(lba, sectors, payload)) sums.set((offsetBytes + payload) / BLOCK_BYTES, entryCrc(header, i))
  }
}
