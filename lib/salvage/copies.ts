/** Every good copy of the records of one log, in all regions. */
import type { Epoch, Won } from '../core/units.js'
import type { ListedRecord, RecordList } from '../region/record-list.js'
import { logKey, type RegionSurvey } from '../region/survey.js'

export interface RecordCopy {
  /** Position of the region in the list that was given. */
  readonly region: number
  readonly list: RecordList
  readonly at: number
  readonly record: ListedRecord
}

export class LogCopies {
  readonly epoch: Epoch
  readonly nonce: string
  readonly start: Won
  /** What recovery would find: without a gap, so a record's place follows from its number. */
  readonly #chains: { readonly region: number; readonly list: RecordList }[] = []
  /** Good records behind a bad one, and in segments whose header is gone. */
  readonly #islands = new Map<Won, { readonly region: number; readonly list: RecordList; readonly at: number }[]>()
  /** The highest won that any of the copies, or what is left of a bad one, vouches for. */
  vouchedWon = 0
  /** The highest won of a good copy. */
  lastWon = 0
  endSector = 0

  constructor(epoch: Epoch, nonce: string, start: Won) {
    this.epoch = epoch
    this.nonce = nonce
    this.start = start
  }

  addChain(region: number, list: RecordList, vouchedWon: number): void {
    this.#chains.push({ region, list })
    this.#note(list)
    this.vouchedWon = Math.max(this.vouchedWon, vouchedWon)
  }

  addIslands(region: number, list: RecordList): void {
    for (let at = 0; at < list.count; at++) {
      const won = list.wonAt(at)
      this.#islands.set(won, [...(this.#islands.get(won) ?? []), { region, list, at }])
    }
    this.#note(list)
  }

  #note(list: RecordList): void {
    this.endSector = Math.max(this.endSector, list.endSector)
    for (let at = 0; at < list.count; at++) {
      this.lastWon = Math.max(this.lastWon, list.wonAt(at))
      this.vouchedWon = Math.max(this.vouchedWon, list.at(at).powerSafeWon)
    }
  }

  /**
   * A good copy of the record that follows the one with this header checksum (null: not known). The region that gave
   * the record before is preferred, then chains, because a power cut may leave an old version behind a log's end.
   */
  copyOf(won: Won, previousHeaderCrc: number | null, preferred: number): RecordCopy | null {
    let best: RecordCopy | null = null
    for (const { region, list, at } of this.#places(won)) {
      const record = list.at(at)
      if (previousHeaderCrc !== null && record.previousHeaderCrc !== previousHeaderCrc) continue
      if (region === preferred) return { region, list, at, record }
      best ??= { region, list, at, record }
    }
    return best
  }

  *#places(won: Won): Generator<{ readonly region: number; readonly list: RecordList; readonly at: number }> {
    for (const { region, list } of this.#chains) {
      const at = list.count === 0 ? -1 : won - list.wonAt(0)
      if (at >= 0 && at < list.count) yield { region, list, at }
    }
    yield* this.#islands.get(won) ?? []
  }
}

/** The logs of a volume over all regions, oldest epoch first. */
export function collectCopies(surveys: readonly RegionSurvey[], volume: string): LogCopies[] {
  const logs = new Map<string, LogCopies>()
  for (const [region, survey] of surveys.entries()) {
    for (const log of survey.logs) {
      if (log.volume !== volume || log.use !== 'live') continue
      const copies = logs.get(logKey(log)) ?? new LogCopies(log.epoch, log.nonce, log.start)
      logs.set(logKey(log), copies)
      copies.addChain(region, log.records, log.end?.vouchedWon ?? 0)
      copies.addIslands(region, log.beyond)
    }
  }
  for (const [region, survey] of surveys.entries()) for (const [key, list] of survey.untold) addUntold(logs, volume, region, key, list)
  return [...logs.values()].sort((a, b) => a.epoch - b.epoch)
}

/** Segments without a header do not say where their log starts: they only help a log that is known from elsewhere. */
function addUntold(logs: Map<string, LogCopies>, volume: string, region: number, key: string, list: RecordList): void {
  if (key.startsWith(`${volume} `)) logs.get(key)?.addIslands(region, list)
}
