/** What is remembered of the records of a log that was read, in columns: a region has room for millions of them. */
import { entryLba, entrySectors, type RecordHeader } from '../core/record.js'
import { won, type Won } from '../core/units.js'

const FIRST = 64
/** 64-bit columns, then 32-bit ones. */
const WIDE = { won: 0, offset: 1, powerSafe: 2 } as const
const NARROW = { length: 0, entries: 1, crc: 2, previousCrc: 3 } as const

export interface ListedRecord {
  readonly won: Won
  /** From the start of the region. */
  readonly offsetBytes: number
  readonly lengthBytes: number
  readonly entryCount: number
  readonly powerSafeWon: Won
  readonly headerCrc: number
  readonly previousHeaderCrc: number
}

export class RecordList {
  #wide = Object.values(WIDE).map(() => new Float64Array(FIRST))
  #narrow = Object.values(NARROW).map(() => new Uint32Array(FIRST))
  #count = 0
  /** First sector of the guest's disk behind everything that these records write. */
  endSector = 0
  lengthBytes = 0

  get count(): number { return this.#count }

  push(header: RecordHeader, offsetBytes: number): void {
    if (this.#count === this.#wide[0]!.length) this.#grow()
    const i = this.#count++
    this.#wide[WIDE.won]![i] = header.won
    this.#wide[WIDE.offset]![i] = offsetBytes
    this.#wide[WIDE.powerSafe]![i] = header.flushedWon
    this.#narrow[NARROW.length]![i] = header.lengthBytes
    this.#narrow[NARROW.entries]![i] = header.entryCount
    this.#narrow[NARROW.crc]![i] = header.headerCrc
    this.#narrow[NARROW.previousCrc]![i] = header.previousHeaderCrc
    this.lengthBytes += header.lengthBytes
    for (let e = 0; e < header.entryCount; e++) this.endSector = Math.max(this.endSector, entryLba(header, e) + entrySectors(header, e))
  }

  #grow(): void {
    const twice = this.#count * 2
    this.#wide = this.#wide.map((column) => { const grown = new Float64Array(twice); grown.set(column); return grown })
    this.#narrow = this.#narrow.map((column) => { const grown = new Uint32Array(twice); grown.set(column); return grown })
  }

  wonAt(i: number): Won { return won(this.#wide[WIDE.won]![i]!) }

  at(i: number): ListedRecord {
    return {
      won: this.wonAt(i), offsetBytes: this.#wide[WIDE.offset]![i]!, powerSafeWon: won(this.#wide[WIDE.powerSafe]![i]!),
      lengthBytes: this.#narrow[NARROW.length]![i]!, entryCount: this.#narrow[NARROW.entries]![i]!,
      headerCrc: this.#narrow[NARROW.crc]![i]!, previousHeaderCrc: this.#narrow[NARROW.previousCrc]![i]!,
    }
  }
}
