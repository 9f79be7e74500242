/**
 * Everything that can be said about a region without changing it, for `inspect` and `salvage`. What is called damage
 * here is what the daemon refuses to open the region for; the rest is a remark.
 */
import type { Epoch, Won } from '../core/units.js'
import { won as toWon } from '../core/units.js'
import type { BadPlace, PlainFile } from '../io/plain-file.js'
import { limits } from '../limits.js'
import { segmentOffset, type SegmentHeader, type Superblock } from './layout.js'
import { RecordList } from './record-list.js'
import { eachUntold, groupLogs, lostBefore, readSegmentHeaders } from './scan.js'
import { newestSlot, readSlots, type Slot } from './slots.js'
import { aboveBase, isDamaged, walkLog, wholeAt, type LogEnd } from './walk.js'

export interface Finding {
  readonly damage: boolean
  readonly text: string
  /** Place in the region, where there is one. */
  readonly segment: number | null
  readonly offsetBytes: number | null
  readonly volume: string | null
  readonly epoch: Epoch | null
  readonly won: Won | null
}

/** `unused`: never used. `trimmed`, `deleted`: free again. `untold`: its header is not readable. */
export type SegmentUse = 'unused' | 'live' | 'trimmed' | 'deleted' | 'untold'

export interface SurveyedSegment { readonly index: number; readonly use: SegmentUse; readonly header: SegmentHeader | null }

export interface SurveyedLog {
  readonly volume: string
  readonly epoch: Epoch
  readonly nonce: string
  readonly start: Won
  /** `trimmed`, `deleted`: only segment headers are left of it, or of this part of it. */
  readonly use: 'live' | 'trimmed' | 'deleted'
  readonly segments: readonly SegmentHeader[]
  /** From the first segment in use on, without a gap; empty for a log that is not live. */
  readonly records: RecordList
  /** Good ones behind the log's end: of no use to the daemon, but to `salvage`. */
  readonly beyond: RecordList
  readonly end: LogEnd | null
}

export interface RegionSurvey {
  readonly path: string
  readonly inUse: boolean
  readonly slots: readonly Slot[]
  readonly superblock: Superblock
  readonly segments: readonly SurveyedSegment[]
  readonly logs: readonly SurveyedLog[]
  /** Good records in segments whose header is not readable, by volume, epoch and nonce as in `logKey`. */
  readonly untold: ReadonlyMap<string, RecordList>
  readonly badPlaces: readonly BadPlace[]
  readonly findings: readonly Finding[]
  readonly payloadsChecked: boolean
}

export interface SurveyOptions {
  readonly payloads: boolean
  readonly progress: (doneSegments: number, totalSegments: number) => void
}

export const logKey = (log: { readonly volume: string; readonly epoch: Epoch; readonly nonce: string }): string => `${log.volume} ${log.epoch} ${log.nonce}`

type Place = Partial<Omit<Finding, 'damage' | 'text'>>

const finding = (damage: boolean, text: string, place: Place = {}): Finding =>
  ({ damage, text, segment: null, offsetBytes: null, volume: null, epoch: null, won: null, ...place })

/** Throws Failure where there is no superblock to go by, or one of a newer release. */
export async function surveyRegion(file: PlainFile, options: SurveyOptions): Promise<RegionSurvey | 'empty'> {
  const slots = await readSlots(file), superblock = newestSlot(slots, file.path)
  if (superblock === null) return 'empty'
  return new Survey(file, slots, superblock, options).run()
}

class Survey {
  readonly #file: PlainFile
  readonly #slots: readonly Slot[]
  readonly #sb: Superblock
  readonly #options: SurveyOptions
  readonly #findings: Finding[] = []
  #done = 0
  #total = 0

  constructor(file: PlainFile, slots: readonly Slot[], superblock: Superblock, options: SurveyOptions) {
    this.#file = file
    this.#slots = slots
    this.#sb = superblock
    this.#options = options
  }

  async run(): Promise<RegionSurvey> {
    const { segmentBytes, segmentCount, incarnation } = this.#sb
    this.#checkSlots()
    const inUse = this.#file.inUse
    const { headers, unreadable } = await readSegmentHeaders(this.#file, incarnation, segmentBytes, segmentCount)
    const { logs: alive } = groupLogs(headers)
    this.#total = alive.reduce((sum, segments) => sum + aboveBase(segments, this.#base(segments[0]!.volume)).length, unreadable.length)
    const logs: SurveyedLog[] = []
    for (const segments of alive) logs.push(...await this.#log(segments))
    const untold = await this.#untold(unreadable, logs)
    const live = new Set(logs.flatMap((log) => log.segments)), deleted = deletedOf(headers)
    const rest = headers.filter((header) => !live.has(header))
    logs.push(...gone(rest.filter((header) => !deleted.has(header)), 'trimmed'), ...gone([...deleted], 'deleted'))
    for (const bad of this.#file.badPlaces) {
      this.#findings.push(finding(true, `${bad.lengthBytes} bytes cannot be read: ${bad.reason}`, { segment: this.#segmentAt(bad.offsetBytes), offsetBytes: bad.offsetBytes }))
    }
    return {
      path: this.#file.path, inUse: inUse || this.#file.inUse, slots: this.#slots, superblock: this.#sb, logs, untold,
      segments: usesOf(segmentCount, headers, live, deleted, unreadable), badPlaces: this.#file.badPlaces, findings: this.#findings,
      payloadsChecked: this.#options.payloads,
    }
  }

  #base(volume: string): Won { return this.#sb.volumes.get(volume)?.base ?? toWon(0) }

  #segmentAt(offsetBytes: number): number | null {
    const index = Math.floor((offsetBytes - segmentOffset(0, this.#sb.segmentBytes)) / this.#sb.segmentBytes)
    return index < 0 ? null : index
  }

  #checkSlots(): void {
    for (const [i, slot] of this.#slots.entries()) {
      if (typeof slot === 'object') continue
      this.#findings.push(finding(false, `superblock slot ${i} is ${slot === 'empty' ? 'empty' : 'damaged'}; the other one counts, and the next save goes here`, { offsetBytes: i * limits.superblockBytes }))
    }
    const need = segmentOffset(this.#sb.segmentCount, this.#sb.segmentBytes)
    if (this.#file.sizeBytes < need) this.#findings.push(finding(true, `the file has ${this.#file.sizeBytes} bytes but its superblock says ${need}; put the missing part back`))
  }

  /** Nothing for a log that the next open finds to be needed no more. */
  async #log(found: readonly SegmentHeader[]): Promise<SurveyedLog[]> {
    const { volume, epoch, nonce, start } = found[0]!, base = this.#base(volume)
    const records = new RecordList(), beyond = new RecordList(), segments: SegmentHeader[] = []
    const headers = aboveBase(found, base)
    const end = await walkLog(this.#file, headers, this.#sb.segmentBytes, {
      begun: () => { this.#options.progress(++this.#done, this.#total) },
      segment: (header) => { segments.push(header) },
      record: (record, offsetBytes) => { records.push(record, offsetBytes) },
      beyond: (record, offsetBytes, whole) => { if (whole) beyond.push(record, offsetBytes) },
    }, { payloads: this.#options.payloads, summaries: 'check' })
    const damaged = isDamaged(end, base)
    if (end.missing - 1 <= base && !damaged) return []
    const lost = lostBefore(headers[0]!, base)
    const of = { volume, epoch }
    if (lost !== null) {
      this.#findings.push(finding(true, `records ${lost} to ${headers[0]!.firstWon - 1} are not found: the header of their segment or the newest superblock is damaged`, { ...of, won: lost }))
    }
    const place = { ...of, segment: end.segment, offsetBytes: end.offsetBytes, won: end.missing }
    if (damaged) this.#findings.push(finding(true, `record ${end.missing} is damaged: a later record proves that it was stored up to ${end.vouchedWon}`, place))
    else if (end.torn) this.#findings.push(finding(false, `record ${end.missing} is torn: the log ends before it, and nothing says that it was ever power-safe`, place))
    // Of a damaged log everything is shown as its own: it is what somebody will look for.
    return [{ volume, epoch, nonce, start, use: 'live', segments: damaged ? headers : segments, records, beyond, end }]
  }

  /** A segment that cannot be told hides something when a record in it vouches for more than was found elsewhere. */
  async #untold(indexes: readonly number[], logs: readonly SurveyedLog[]): Promise<Map<string, RecordList>> {
    const lists = new Map<string, RecordList>(), worst = new Map<number, Finding>()
    const ends = new Map(logs.map((log) => [logKey(log), log.records.count === 0 ? 0 : log.records.wonAt(log.records.count - 1)]))
    await eachUntold(this.#file, indexes, this.#sb.segmentBytes, (record, index, at, bytes) => {
      const { volume, epoch } = record, key = logKey(record), list = lists.get(key) ?? new RecordList()
      lists.set(key, list)
      const from = segmentOffset(index, this.#sb.segmentBytes)
      if (wholeAt(bytes, at, record, this.#options)) list.push(record, from + at)
      const end = Math.max(this.#base(volume), ends.get(key) ?? 0)
      if (record.flushedWon <= end) return
      worst.set(index, finding(true, `the header of segment ${index} is damaged: a record in it proves that the log was stored up to ${record.flushedWon}, and it is found up to ${end}`,
        { segment: index, offsetBytes: from, volume, epoch, won: toWon(end + 1) }))
    })
    for (const index of indexes) {
      this.#findings.push(worst.get(index) ?? finding(false, `the header of segment ${index} is damaged, and nothing in the segment is needed`,
        { segment: index, offsetBytes: segmentOffset(index, this.#sb.segmentBytes) }))
      this.#options.progress(++this.#done, this.#total)
    }
    return lists
  }
}

/** One tombstone is enough for all that its log had used until then. */
function deletedOf(headers: readonly SegmentHeader[]): Set<SegmentHeader> {
  const upTo = new Map<string, number>()
  for (const header of headers) upTo.set(logKey(header), Math.max(upTo.get(logKey(header)) ?? 0, header.deletedUse))
  return new Set(headers.filter((header) => header.deletedUse !== 0 || header.useSequence <= upTo.get(logKey(header))!))
}

/** Logs of which only segment headers are left. */
function gone(headers: readonly SegmentHeader[], use: 'trimmed' | 'deleted'): SurveyedLog[] {
  const logs = new Map<string, SegmentHeader[]>()
  for (const header of headers) logs.set(logKey(header), [...(logs.get(logKey(header)) ?? []), header])
  return [...logs.values()].map((segments) => {
    segments.sort((a, b) => a.ordinal - b.ordinal)
    const { volume, epoch, nonce, start } = segments[0]!
    return { volume, epoch, nonce, start, use, segments, records: new RecordList(), beyond: new RecordList(), end: null }
  })
}

function usesOf(
  count: number, headers: readonly SegmentHeader[], live: ReadonlySet<SegmentHeader>, deleted: ReadonlySet<SegmentHeader>, unreadable: readonly number[],
): SurveyedSegment[] {
  const byIndex = new Map(headers.map((header) => [header.index, header]))
  return Array.from({ length: count }, (_, index): SurveyedSegment => {
    const header = byIndex.get(index) ?? null
    if (header === null) return { index, use: unreadable.includes(index) ? 'untold' : 'unused', header }
    return { index, use: live.has(header) ? 'live' : deleted.has(header) ? 'deleted' : 'trimmed', header }
  })
}
