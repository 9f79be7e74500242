/** The journal's slots as two files: beside the image, or in a folder that all hosts of the volume share. */
import { constants } from 'node:fs'
import { access, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import { BLOCK_BYTES } from '../core/units.js'
import type { BlockFile } from '../ports/io.js'
import type { JournalSlots } from './cut-journal.js'

const SLOTS = [0, 1] as const

/** Both, whether they are there or not. */
export const slotPaths = (stem: string): string[] => SLOTS.map((slot) => `${stem}.holdfast-journal-${slot}`)

export class FileSlots implements JournalSlots {
  readonly #stem: string
  readonly #openFile: (path: string) => Promise<BlockFile>

  /** `stem`: path of the image, or of the volume's name in the journals' folder. */
  constructor(stem: string, openFile: (path: string) => Promise<BlockFile>) {
    this.#stem = stem
    this.#openFile = openFile
  }

  get where(): string { return dirname(this.#stem) }

  async open(slot: number): Promise<BlockFile> {
    const path = slotPaths(this.#stem)[slot]!
    try {
      await create(path)
    } catch (error) {
      throw new Failure(EXIT.config, `the journal ${path} cannot be made: ${(error as Error).message}; give this host the right to, ` +
        'set journal to another shared folder, or choose order = "flush" or "cut"', { cause: error })
    }
    return this.#openFile(path)
  }

  async exist(): Promise<boolean> {
    const there = await Promise.all(slotPaths(this.#stem).map((path) => access(path).then(() => true, () => false)))
    return there.includes(true)
  }

  remove(): Promise<void> { return removeSlots(this.#stem) }
}

/** Power-safe when it resolves: a journal that came back after a power cut would be applied to a newer image. */
export async function removeSlots(stem: string): Promise<void> {
  for (const path of slotPaths(stem)) await rm(path, { force: true })
  await syncFolder(stem)
}

/**
 * A name that is lost with the power would take a whole cut with it, so the folder is synced too. A file that is
 * shorter than a block was cut off while it was made.
 */
async function create(path: string): Promise<void> {
  const file = await open(path, constants.O_RDWR + constants.O_CREAT, 0o600)
  try {
    if ((await file.stat()).size >= BLOCK_BYTES) return
    await file.write(new Uint8Array(2 * BLOCK_BYTES), 0, 2 * BLOCK_BYTES, 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await syncFolder(path)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  try { await folder.sync() } finally { await folder.close() }
}
