/**
 * A journal read back without any daemon: for an image whose every log is lost. Reads with plain calls, because nothing
 * else runs. What is damaged is told and never applied.
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'
import {
  JOURNAL_HEADER_BYTES, JOURNAL_KIND, JOURNAL_STATE, parseJournalEntry, parseJournalHeader, tableBytes, type JournalEntry, type JournalHeader,
} from '../core/journal.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'

export interface FoundJournal { readonly path: string; readonly header: JournalHeader }

/** The newest slot whose header is whole; null when there is none. Throws Failure(config) for a newer version. */
export function newestJournal(paths: readonly string[]): FoundJournal | null {
  let newest: FoundJournal | null = null
  for (const path of paths) {
    const header = withFile(path, 'r', (fd) => {
      const bytes = new Uint8Array(JOURNAL_HEADER_BYTES)
      return readSync(fd, bytes, 0, bytes.length, 0) === bytes.length ? parseJournalHeader(bytes, crc) : null
    })
    if (header === 'newer') throw new Failure(EXIT.config, `${path} was written by a newer version of Holdfast; use that one`)
    if (header !== null && (newest === null || header.sequence > newest.header.sequence)) newest = { path, header }
  }
  return newest
}

/** Not known to be on the image. */
export const isPending = (found: FoundJournal | null): found is FoundJournal => found?.header.state === JOURNAL_STATE.complete

/** Everything in the journal, checked. Throws Failure(damaged) with the place. `progress`: bytes checked. */
export function checkJournal(found: FoundJournal, progress: (doneBytes: number, totalBytes: number) => void): JournalEntry[] {
  return withFile(found.path, 'r', (fd) => {
    const { header } = found
    const damaged = (what: string): Failure => new Failure(EXIT.damaged, `${found.path}: ${what}; the cut at write ${header.cut} cannot be applied, and nothing was changed`)
    if (header.entryCount > limits.journalEntriesMax || header.tableOffset > fstatSync(fd).size) throw damaged('its table lies outside of it')
    const table = new Uint8Array(tableBytes(header.entryCount))
    if (readSync(fd, table, 0, table.length, header.tableOffset) !== table.length || crc(table, 0) !== header.tableCrc) throw damaged('its table is damaged')
    const entries: JournalEntry[] = []
    for (let i = 0; i < header.entryCount; i++) {
      const entry = parseJournalEntry(table, i)
      if (entry === null) throw damaged(`entry ${i} is none`)
      if (entry.kind === JOURNAL_KIND.data && crc(payload(fd, entry), 0) !== entry.crc) throw damaged(`the data of entry ${i}, at byte ${entry.offsetBytes}, is damaged`)
      entries.push(entry)
      progress(i + 1, header.entryCount)
    }
    return entries
  })
}

/** Brings a checked cut to the image, in order, and flushes it. Doing it twice is as good as once. */
export function applyJournal(found: FoundJournal, entries: readonly JournalEntry[], image: string): void {
  withFile(found.path, 'r', (from) => withFile(image, 'r+', (to) => {
    for (const entry of entries) {
      if (entry.kind === JOURNAL_KIND.data) writeAll(to, payload(from, entry), entry.lba * 512)
      else for (let done = 0; done < entry.sectors; done += ZERO_SECTORS) writeAll(to, new Uint8Array(Math.min(ZERO_SECTORS, entry.sectors - done) * 512), (entry.lba + done) * 512)
    }
    fdatasyncSync(to)
  }))
}

const ZERO_SECTORS = 2048

function payload(fd: number, { offsetBytes, sectors }: JournalEntry): Uint8Array {
  const bytes = new Uint8Array(Math.min(sectors * 512, limits.destageWriteBytesMax))
  readSync(fd, bytes, 0, bytes.length, offsetBytes)
  return bytes
}

function writeAll(fd: number, bytes: Uint8Array, offsetBytes: number): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, offsetBytes + done)
}

function withFile<T>(path: string, flags: 'r' | 'r+', work: (fd: number) => T): T {
  const fd = openSync(path, flags)
  try { return work(fd) } finally { closeSync(fd) }
}
