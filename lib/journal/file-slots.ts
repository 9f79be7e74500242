/** The journal's slots as two files: beside the image, or in a folder that all hosts of the volume share. */
import { closeSync, constants, existsSync, fstatSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import { BLOCK_BYTES } from '../core/units.js'
import type { BlockFile } from '../ports/io.js'
import type { JournalSlots } from './cut-journal.js'

const SLOTS = [0, 1] as const

const slotPath = (stem: string, slot: number): string => `${stem}.holdfast-journal-${slot}`
/** Both, whether they are there or not. */
export const slotPaths = (stem: string): string[] => SLOTS.map((slot) => slotPath(stem, slot))

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
    const path = slotPath(this.#stem, slot)
    try {
      create(path)
    } catch (error) {
      throw new Failure(EXIT.config, `the journal ${path} cannot be made: ${(error as Error).message}; give this host the right to, ` +
        'set journal to another shared folder, or choose order = "flush" or "cut"', { cause: error })
    }
    return this.#openFile(path)
  }

  get exist(): boolean { return slotPaths(this.#stem).some((path) => existsSync(path)) }

  /** A journal that came back after a power cut would be applied to a newer image. */
  remove(): void {
    for (const path of slotPaths(this.#stem)) rmSync(path, { force: true })
    syncFolder(this.#stem)
  }
}

/**
 * A name that is lost with the power would take a whole cut with it, so the folder is synced too. A file that is
 * shorter than a block was cut off while it was made.
 */
function create(path: string): void {
  const fd = openSync(path, constants.O_RDWR + constants.O_CREAT, 0o600)
  try {
    if (fstatSync(fd).size >= BLOCK_BYTES) return
    writeSync(fd, new Uint8Array(2 * BLOCK_BYTES), 0, 2 * BLOCK_BYTES, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  syncFolder(path)
}

function syncFolder(path: string): void {
  const folder = openSync(dirname(path), 'r')
  try { fsyncSync(folder) } finally { closeSync(folder) }
}
