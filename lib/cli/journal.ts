/** `holdfast journal`: the journal of an image that nobody serves. */
import { closeSync, existsSync, openSync } from 'node:fs'
import { heldName, imagePath } from '../backing/guard.js'
import { lockImage } from '../backing/image-lock.js'
import { EXIT, Failure } from '../core/failure.js'
import { decideRound } from '../core/journal-round.js'
import { applyJournal, checkJournal, isPending, newestJournal, type FoundJournal } from '../journal/recovery.js'
import { removeSlots, slotPaths } from '../journal/file-slots.js'
import type { JournalArguments } from './commands/journal.js'
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
    `${isPending(newest) ? 'it may not be on the image' : 'it is on the image'}${header.round === null ? '' : `; cut together with the other disks of its VM (round ${header.round.slice(0, 8)})`}\n`)
}

/** One image, or all disks of a VM: those are brought to one instant, or nothing is changed. */
export async function apply(images: readonly string[], options: JournalArguments): Promise<void> {
  if (options.journal !== undefined && images.length > 1) throw new Failure(EXIT.usage, '--journal is for one image; give each of several disks\' journals beside its image')
  const newest = images.map((image) => found(stemOf(image, options)))
  const decision = decideRound(newest.map((journal) => journal?.header ?? null))
  if (images.length > 1 && decision.kind === 'apart') {
    throw new Failure(EXIT.unsafe, `these images cannot be brought to one instant: ${decision.reason}; nothing was changed. ` +
      '"holdfast journal apply IMAGE" brings each of them to a state that its disk once had, but not to the same instant')
  }
  const discarded = images.length > 1 && decision.kind === 'discard' ? decision.disks : []
  const locks: number[] = []
  try {
    for (const image of images) locks.push(lockedImage(imagePath(ownName(image))))
    // All of it is checked before anything is changed.
    const checked = newest.map((journal, i) => isPending(journal) && !discarded.includes(i)
      ? checkJournal(journal, options.progress ? progressLine(`checking the journal of ${images[i]}`) : () => undefined) : null)
    for (const [i, image] of images.entries()) {
      const journal = newest[i]!
      if (journal !== null && checked[i] !== null) applyJournal(journal, checked[i], imagePath(ownName(image)))
    }
    for (const [i, image] of images.entries()) await finish(image, newest[i]!, discarded.includes(i), options)
  } finally {
    for (const fd of locks) closeSync(fd)
  }
}

/** The image is as it shall be: its journal goes. */
async function finish(image: string, journal: FoundJournal | null, discarded: boolean, options: JournalArguments): Promise<void> {
  const say = (text: string): void => { process.stdout.write(`${text}\n`) }
  if (journal !== null && discarded) {
    await removeSlots(stemOf(image, options))
    say(`${image} stays the disk as of write ${journal.header.base}: the others do not have its last cut, so nobody has applied it; its journal is gone`)
  } else if (isPending(journal)) {
    await removeSlots(stemOf(image, options))
    say(`${imagePath(ownName(image))} is now the disk as of write ${journal.header.cut}; the journal is gone`)
  } else {
    say(`${image}: ${journal === null ? 'there is no journal' : 'the journal\'s newest cut is on the image already'}; nothing was changed`)
  }
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
