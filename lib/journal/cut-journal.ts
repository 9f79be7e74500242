/**
 * Two slots, written in turn. A cut's payloads and table go first and are flushed; the header that makes them count
 * comes after that, durable by itself. So a valid header means that the whole cut is there.
 *
 * Why two (power may go, or the logs be lost, at any point):
 *   slot A half written:             its header still names an older cut than B's, or none: B counts. B was applied and
 *                                    flushed before A was begun, or is what the next owner applies; either way it is whole.
 *   A's header there, not applied:   applying it makes the backing the disk as of its cut.
 *   applied, mark `retired` lost:    it is applied once more, onto itself: nothing else was written in between.
 *   a dead owner's cut half applied: the new owner's first cut covers at least that cut (R16). It goes into the other slot,
 *                                    so that the old one stays whole until the new one is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../core/assert.js'
import { EXIT, Failure } from '../core/failure.js'
import {
  JOURNAL_HEADER_BYTES, JOURNAL_KIND, JOURNAL_STATE, encodeJournalHeader, encodeJournalTable, parseJournalHeader, tableBytes,
  type JournalEntry, type JournalHeader,
} from '../core/journal.js'
import { BLOCK_BYTES, roundUp } from '../core/units.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { AlignedBytes, BlockFile, CutJournal, JournalCut, JournalGroups } from '../ports/io.js'

/** Where the two slots are. */
export interface JournalSlots {
  /** For people. */
  readonly where: string
  exist(): Promise<boolean>
  /** Makes the slot when it is not there: at least one block, all zeros, and its name power-safe. */
  open(slot: number): Promise<BlockFile>
  /** Both slots, power-safe when it returns. */
  remove(): Promise<void>
}

interface Slot {
  readonly file: BlockFile
  /** Null: nothing in it counts. */
  header: JournalHeader | null
  /** A write of the header failed: what is on the disk may be the old one or the new one. */
  unknown: boolean
  /** The mark `retired` on its way. */
  marking: Promise<void>
}

export class SlottedJournal implements CutJournal {
  readonly #slots: JournalSlots
  #open: readonly [Slot, Slot] | null = null
  #present: { readonly slot: Slot; readonly cut: JournalCut; readonly sequence: number; readonly previousRound: string | null } | null = null
  #entries: JournalEntry[] = []
  #endBytes = 0
  outstandingWrites = 0

  constructor(slots: JournalSlots) { this.#slots = slots }

  async pending(): Promise<JournalHeader | null> {
    if (!await this.#slots.exist()) return null
    await this.forget()
    await this.#ensureOpen()
    const newest = this.#newest()
    await this.forget()
    return newest !== null && newest.state === JOURNAL_STATE.complete ? newest : null
  }

  async begin(cut: JournalCut): Promise<void> {
    const slots = this.#open ?? await this.#ensureOpen()
    const newest = this.#newest()
    const slot = slots.find((s) => s.header === null || s.header !== newest)!
    await slot.marking
    // A header that may count must not stand above payloads that are being overwritten.
    if (slot.unknown) await this.#writeHeader(slot, null, true)
    // A cut that is written once more has its round still to be finished.
    const again = newest !== null && cut.round !== null && newest.round === cut.round
    this.#present = { slot, cut, sequence: (newest?.sequence ?? 0) + 1, previousRound: (again ? newest.previousRound : newest?.round) ?? null }
    this.#entries = []
    this.#endBytes = JOURNAL_HEADER_BYTES
  }

  async addData(lba: number, sectors: number, memory: AlignedBytes): Promise<void> {
    const bytes = sectors * 512, offsetBytes = this.#endBytes
    this.#add({ lba, sectors, kind: JOURNAL_KIND.data, offsetBytes, crc: crc(memory.bytes.subarray(0, bytes), 0) })
    const length = roundUp(bytes, BLOCK_BYTES)
    this.#endBytes += length
    await this.#write(memory.address, length, offsetBytes, false)
  }

  addZero(lba: number, sectors: number): void { this.#add({ lba, sectors, kind: JOURNAL_KIND.zero, offsetBytes: 0, crc: 0 }) }

  async addImage(memory: AlignedBytes, lengthBytes: number, { lba, sectors, at }: JournalGroups): Promise<void> {
    const first = this.#endBytes
    this.#endBytes += lengthBytes
    // Each part is summed while the one before is written.
    let written: Promise<unknown> = Promise.resolve()
    try {
      for (let from = 0, group = 0; from < lengthBytes || group < lba.length; from += limits.destageWriteBytesMax) {
        const end = Math.min(from + limits.destageWriteBytesMax, lengthBytes)
        for (; group < lba.length && at[group]! < end; group++) {
          if (at[group]! < 0) this.addZero(lba[group]!, sectors[group]!)
          else this.#add({ lba: lba[group]!, sectors: sectors[group]!, kind: JOURNAL_KIND.data, offsetBytes: first + at[group]!, crc: crc(memory.bytes.subarray(at[group]!, at[group]! + sectors[group]! * 512), 0) })
        }
        await written
        if (end > from) written = this.#write(memory.address + from, end - from, first + from, false)
        written.catch(() => undefined)
      }
    } finally {
      // Whatever ended it: the memory is somebody else's afterwards.
      await written
    }
  }

  #add(entry: JournalEntry): void {
    if (this.#entries.length === limits.journalEntriesMax) {
      throw new Failure(EXIT.unsafe, `the journal in ${this.#slots.where} holds at most ${limits.journalEntriesMax} extents; make destage_at smaller`)
    }
    this.#entries.push(entry)
  }

  async commit(): Promise<void> {
    const { slot, cut, sequence, previousRound } = this.#present!
    const tableOffset = this.#endBytes, entryCount = this.#entries.length
    const table = new AlignedMemory(Math.max(BLOCK_BYTES, tableBytes(entryCount)))
    try {
      const bytes = table.bytes.subarray(0, tableBytes(entryCount))
      encodeJournalTable(this.#entries, bytes)
      for (let at = 0; at < bytes.length; at += limits.destageWriteBytesMax) {
        await this.#write(table.address + at, Math.min(limits.destageWriteBytesMax, bytes.length - at), tableOffset + at, false)
      }
      await operation((target) => slot.file.flush(target, 0))
      await this.#writeHeader(slot, { ...cut, sequence, previousRound, tableOffset, entryCount, tableCrc: crc(bytes, 0), state: JOURNAL_STATE.complete }, true)
    } finally {
      table.free()
    }
    this.#entries = []
  }

  async leaveRound(): Promise<void> {
    const { slot } = this.#present!
    await this.#writeHeader(slot, { ...slot.header!, round: null }, true)
  }

  retired(): void {
    const present = this.#present
    if (present === null) return
    this.#present = null
    // Not waited for, and an error does not matter: it is a hint that saves work.
    present.slot.marking = this.#writeHeader(present.slot, { ...present.slot.header!, state: JOURNAL_STATE.retired }, false).catch(() => undefined)
  }

  /** Null erases it. */
  async #writeHeader(slot: Slot, header: JournalHeader | null, durable: boolean): Promise<void> {
    const memory = new AlignedMemory(JOURNAL_HEADER_BYTES)
    try {
      if (header !== null) encodeJournalHeader(header, memory.bytes, crc)
      slot.unknown = true
      await this.#write(memory.address, JOURNAL_HEADER_BYTES, 0, durable, slot.file)
      slot.unknown = false
      slot.header = header
    } finally {
      memory.free()
    }
  }

  async #write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, file = this.#present!.slot.file): Promise<void> {
    this.outstandingWrites++
    try {
      await operation((target) => file.write(address, lengthBytes, offsetBytes, durable, target, 0))
    } finally {
      this.outstandingWrites--
    }
  }

  #newest(): JournalHeader | null {
    const [a, b] = this.#open!.map((slot) => slot.header) as [JournalHeader | null, JournalHeader | null]
    if (a === null || b === null) return a ?? b
    return a.sequence > b.sequence ? a : b
  }

  async #ensureOpen(): Promise<readonly [Slot, Slot]> {
    assert(this.#open === null, 'opened once')
    const first = await this.#openSlot(0)
    try {
      return this.#open = [first, await this.#openSlot(1)]
    } catch (error) {
      first.file.close()
      throw error
    }
  }

  async #openSlot(index: number): Promise<Slot> {
    const file = await this.#slots.open(index)
    const memory = new AlignedMemory(JOURNAL_HEADER_BYTES)
    try {
      await operation((target) => file.read(memory.address, JOURNAL_HEADER_BYTES, 0, target, 0))
      const header = parseJournalHeader(memory.bytes, crc)
      if (header === 'newer') throw new Failure(EXIT.config, `the journal ${file.path} was written by a newer version; nothing was changed`)
      return { file, header, unknown: false, marking: Promise.resolve() }
    } catch (error) {
      file.close()
      throw error
    } finally {
      memory.free()
    }
  }

  async forget(): Promise<void> {
    const open = this.#open
    this.#open = null
    this.#present = null
    // Files are closed only when nothing is under way on them: a reused descriptor would get the write.
    while (this.outstandingWrites > 0) await sleep(limits.destagePauseMs)
    for (const slot of open ?? []) slot.file.close()
  }

  async remove(): Promise<void> {
    await this.forget()
    if (await this.#slots.exist()) await this.#slots.remove()
  }
}
