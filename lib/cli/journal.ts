/** `holdfast journal`: the journal of an image that nobody serves. */
import { closeSync, existsSync, openSync } from 'node:fs'
import { heldName, imagePath } from '../backing/guard.js'
import { lockImage } from '../backing/image-lock.js'
import { EXIT, Failure } from '../core/failure.js'
import { applyJournal, checkJournal, isPending, newestJournal, type FoundJournal } from '../journal/recovery.js'
import { removeSlots, slotPaths } from '../journal/file-slots.js'
import type { JournalArguments } from './program.js'
import { progressLine } from './progress.js'

const found = (stem: string): FoundJournal | null => newestJournal(slotPaths(stem).filter((path) => existsSync(path)))
/** The image may be given by its own name or by the one that it has while a volume is attached. */
const ownName = (image: string): string => image.endsWith(heldName('')) ? image.slice(0, -heldName('').length) : image
const stemOf = (image: string, options: JournalArguments): string => options.journal ?? ownName(image)

export function show(image: string, options: JournalArguments): void {
  const newest = found(stemOf(image, options))
  if (options.json) { process.stdout.write(`${JSON.stringify(newest === null ? null : { path: newest.path, ...newest.header, pending: isPending(newest) })}\n`); return }
  if (newest === null) { process.stdout.write(`${image} has no journal\n`); return }
  const { path, header } = newest
  process.stdout.write(`${path}: the cut at write ${header.cut} of volume ${header.volume}, epoch ${header.epoch}, ${header.entryCount} extents; ` +
    `${isPending(newest) ? 'it may not be on the image' : 'it is on the image'}\n`)
}

export async function apply(image: string, options: JournalArguments): Promise<void> {
  const newest = found(stemOf(image, options))
  if (!isPending(newest)) { process.stdout.write(`${image}: ${newest === null ? 'there is no journal' : 'the journal\'s newest cut is on the image already'}; nothing was changed\n`); return }
  const path = imagePath(ownName(image)), locked = lockedImage(path)
  try {
    const entries = checkJournal(newest, options.progress ? progressLine('checking the journal') : () => undefined)
    applyJournal(newest, entries, path)
  } finally {
    closeSync(locked)
  }
  await removeSlots(stemOf(image, options))
  process.stdout.write(`${path} is now the disk as of write ${newest.header.cut}; the journal is gone\n`)
}

export async function discard(image: string, options: JournalArguments): Promise<void> {
  const locked = lockedImage(imagePath(ownName(image)))
  try { await removeSlots(stemOf(image, options)) } finally { closeSync(locked) }
  process.stdout.write(`the journal of ${image} is gone\n`)
}

/** Nobody may serve the image meanwhile. */
function lockedImage(image: string): number {
  if (!existsSync(image)) throw new Failure(EXIT.usage, `there is no ${image}`)
  const fd = openSync(image, 'r+')
  try {
    lockImage(fd, image, false)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
