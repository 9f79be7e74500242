/** One log in the region: records in segments, in order, and which of them are stored. */
import { assert } from '../core/assert.js'
import { IndexLayer } from '../core/index-layer.js'
import type { Layer } from '../core/layer.js'
import { ENTRY, HEADER_BYTES, entryKind, entryLba, entryPayload, entrySectors, parseHeader, type RecordHeader } from '../core/record.js'
import { EXIT, Failure } from '../core/failure.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { CompletionTarget } from '../ports/io.js'
import type { LogCut, RegionLog } from '../ports/region.js'
import { crc } from '../io/crc.js'
import { SEGMENT_HEADER_BYTES, encodeSegmentHeader, segmentOffset } from './layout.js'
import type { SegmentPool } from './segment-pool.js'

export interface LogSegment {
  readonly index: number
  readonly ordinal: number
  readonly firstWon: Won
  usedBytes: number
  readonly useSequence: number
  /** Nothing in the segment counts before its header is on the disk: 0 until then, after that the length or -errno of its write. */
  headerResult: number
  /** Writes under way, the header's among them: while there are any, the segment cannot be given back. */
  writes: number
  released: boolean
}

interface Append { readonly won: Won; readonly segment: LogSegment; readonly target: CompletionTarget; readonly token: number; result: number }

export interface LogIdentity { readonly volume: string; readonly epoch: Epoch; readonly start: Won; readonly nonce: string }

export class SegmentedLog implements RegionLog, CompletionTarget {
  readonly volume: string
  readonly epoch: Epoch
  readonly start: Won
  readonly nonce: string
  readonly #pool: SegmentPool
  #segments: LogSegment[] = []
  /** Records from `#firstWon` on: where they are and how long. */
  #offsets: number[] = []
  #lengths: number[] = []
  #firstWon: Won
  #appendedWon: Won
  #storedWon: Won
  /** A number is never used twice in a log: what a trimmed segment leaves on the disk stays older than what is here. */
  #nextOrdinal = 0
  lastHeaderCrc = 0
  /** Appends under way by token; completed ones wait here for their segment's header. */
  readonly #appends: (Append | null)[] = []
  /** Stored out of order, ahead of #storedWon. */
  readonly #early = new Set<Won>()
  readonly #onWritten: (() => void)[] = []

  constructor(pool: SegmentPool, id: LogIdentity) {
    this.volume = id.volume
    this.epoch = id.epoch
    this.start = id.start
    this.nonce = id.nonce
    this.#pool = pool
    this.#firstWon = toWon(id.start + 1)
    this.#appendedWon = id.start
    this.#storedWon = id.start
  }

  get storedLength(): number { return this.#storedWon - this.start }
  get bytes(): number { return this.#segments.length * this.#pool.segmentBytes }
  get segments(): readonly LogSegment[] { return this.#segments }

  // --- recovery ----------------------------------------------------------------------------------------------------------------

  /** A segment found at open, in order. The first one says where the log begins here. */
  adoptSegment(segment: LogSegment): void {
    if (this.#segments.length === 0) {
      this.#firstWon = segment.firstWon
      this.#appendedWon = toWon(segment.firstWon - 1)
      this.#storedWon = this.#appendedWon
    }
    this.#segments.push(segment)
    this.#nextOrdinal = segment.ordinal + 1
  }

  adoptRecord(header: RecordHeader, offsetBytes: number): void {
    assert(header.won === this.#appendedWon + 1, 'records are adopted in order')
    this.#offsets.push(offsetBytes)
    this.#lengths.push(header.lengthBytes)
    this.#appendedWon = header.won
    this.#storedWon = header.won
    this.lastHeaderCrc = header.headerCrc
  }

  // --- appending -----------------------------------------------------------------------------------------------------------------

  get #open(): LogSegment | undefined { return this.#segments.at(-1) }

  hasRoom(lengthBytes: number): boolean {
    const open = this.#open
    if (open !== undefined && open.usedBytes + lengthBytes <= this.#pool.segmentBytes) return true
    return this.#pool.free > (open === undefined ? 0 : limits.regionReservedSegments)
  }

  append(address: number, lengthBytes: number, won: Won, headerCrc: number, durable: boolean, target: CompletionTarget, token: number): number {
    assert(won === this.#appendedWon + 1, `record ${won} follows ${this.#appendedWon}`)
    assert(lengthBytes % 4096 === 0 && lengthBytes <= this.#pool.segmentBytes - SEGMENT_HEADER_BYTES, 'a record fits a segment')
    let segment = this.#open
    // H13: a record is never split; what is left of the segment stays empty.
    if (segment === undefined || segment.usedBytes + lengthBytes > this.#pool.segmentBytes) segment = this.#openSegment(won)
    const offset = segmentOffset(segment.index, this.#pool.segmentBytes) + segment.usedBytes
    segment.usedBytes += lengthBytes
    this.#offsets.push(offset)
    this.#lengths.push(lengthBytes)
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
      headerResult: 0, writes: 0, released: false,
    }
    this.#segments.push(segment)
    this.#writeHeader(segment, this.lastHeaderCrc, 0, (result) => {
      segment.headerResult = result
      this.#finish(segment, result)
    })
    return segment
  }

  #writeHeader(segment: LogSegment, previousHeaderCrc: number, deletedUse: number, done: (result: number) => void): void {
    const memory = new AlignedMemory(SEGMENT_HEADER_BYTES), { index, ordinal, firstWon, useSequence } = segment
    encodeSegmentHeader({
      incarnation: this.#pool.incarnation, index, useSequence, volume: this.volume, epoch: this.epoch, start: this.start,
      nonce: this.nonce, ordinal, firstWon, previousHeaderCrc, deletedUse,
    }, memory.bytes, crc)
    segment.writes++
    this.#pool.write(memory.address, SEGMENT_HEADER_BYTES, segmentOffset(index, this.#pool.segmentBytes), true, {
      complete: (_token, result) => {
        memory.free()
        this.#written(segment)
        done(result)
      },
    }, 0)
  }

  #written(segment: LogSegment): void {
    segment.writes--
    if (segment.released && segment.writes === 0) this.#pool.give(segment.index)
    for (const wake of this.#onWritten.splice(0)) wake()
  }

  complete(slot: number, result: number): void {
    const append = this.#appends[slot]!
    append.result = result
    this.#written(append.segment)
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
    this.#forget(this.#segments[0]?.firstWon ?? toWon(this.#appendedWon + 1))
  }

  /** Places of the records before `keep` are not needed any more. */
  #forget(keep: Won): void {
    if (keep <= this.#firstWon) return
    const dropped = keep - this.#firstWon
    this.#offsets.splice(0, dropped)
    this.#lengths.splice(0, dropped)
    this.#firstWon = keep
  }

  /**
   * Frees everything. Each segment first gets a tombstone, and none is given back before all of them are power-safe:
   * a segment that is used again leaves a hole, and a log with a hole must not look alive at the next open.
   */
  async delete(): Promise<void> {
    const segments = this.#segments.splice(0), deletedUse = this.#pool.lastUse
    // The header's own write may still be under way; the ring keeps no order between the two.
    while (segments.some((segment) => segment.writes > 0)) await new Promise<void>((resolve) => this.#onWritten.push(resolve))
    const results = await Promise.all(segments.map((segment) => new Promise<number>((resolve) => this.#writeHeader(segment, 0, deletedUse, resolve))))
    // After a failed write the region takes no more writes: the segments are of no use to anybody.
    if (results.every((result) => result > 0)) for (const segment of segments) this.#release(segment)
  }

  #release(segment: LogSegment): void {
    segment.released = true
    if (segment.writes === 0) this.#pool.give(segment.index)
  }

  // --- reading back --------------------------------------------------------------------------------------------------------------------

  async buildLayer(kept: number, base: Won): Promise<Layer> {
    const layer = new IndexLayer()
    await this.#readHeaders(kept, base, (header, offset) => applyRecord(layer, header, offset))
    return layer
  }

  async buildCuts(kept: number, base: Won): Promise<LogCut[]> {
    const cuts: LogCut[] = []
    let layer = new IndexLayer(), flushed: Won | null = null
    await this.#readHeaders(kept, base, (header, offset) => {
      // A flush was answered before this record was made: what it vouches for has risen.
      if (flushed !== null && header.flushedWon > flushed) {
        cuts.push({ layer, cut: toWon(header.won - 1) })
        layer = new IndexLayer()
      }
      flushed = header.flushedWon
      applyRecord(layer, header, offset)
    })
    cuts.push({ layer, cut: toWon(this.start + kept) })
    return cuts
  }

  /** Headers of the records above `base`, in order. */
  async #readHeaders(kept: number, base: Won, visit: (header: RecordHeader, offsetBytes: number) => void): Promise<void> {
    const from = Math.max(this.#firstWon, base + 1), to = this.start + kept
    assert(to <= this.#storedWon, 'what is kept is stored')
    assert(from === base + 1 || from <= this.start + 1, 'what is above base is here')
    const memory = new AlignedMemory(HEADER_BYTES * limits.headerReadsMax)
    try {
      for (let won = from; won <= to; won += limits.headerReadsMax) {
        const n = Math.min(limits.headerReadsMax, to - won + 1)
        await allEnded(Array.from({ length: n }, (_, i) => operation((target) =>
          this.#pool.file.read(memory.address + i * HEADER_BYTES, HEADER_BYTES, this.#offsets[won + i - this.#firstWon]!, target, 0))))
        for (let i = 0; i < n; i++) {
          visit(this.#headerOf(toWon(won + i), memory.bytes.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES)), this.#offsets[won + i - this.#firstWon]!)
        }
      }
    } finally {
      memory.free()
    }
  }

  #headerOf(won: Won, bytes: Uint8Array): RecordHeader {
    const header = parseHeader(bytes, crc)
    if (!('problem' in header) && header.won === won && header.nonce === this.nonce) return header
    throw new Failure(EXIT.damaged, `region ${this.#pool.file.path}: record ${won} of volume ${this.volume}, epoch ${this.epoch}, at byte ` +
      `${this.#offsets[won - this.#firstWon]!} was good and is not any more (${'problem' in header ? header.problem : 'another record is there'}); ` +
      'keep the region as it is and take the volume over on another holder')
  }
}

/** Puts a record's entries into a layer; `offsetBytes` is the record's place in the region. */
export function applyRecord(layer: Layer, header: RecordHeader, offsetBytes: number): void {
  for (let i = 0; i < header.entryCount; i++) {
    const lba = entryLba(header, i), sectors = entrySectors(header, i)
    if (entryKind(header, i) === ENTRY.data) layer.putData(lba, sectors, (offsetBytes + entryPayload(header, i)) / 512)
    else layer.putZero(lba, sectors)
  }
}
