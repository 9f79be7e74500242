/** Where a volume's cut journal is, and what is done about one that nobody can account for. */
import { dirname, join } from 'node:path'
import { openBeside, type OpenedBacking } from '../backing/open.js'
import type { DangerOptions } from '../backing/danger.js'
import { EXIT, Failure } from '../core/failure.js'
import { storageRing } from '../io/storage-ring.js'
import { SlottedJournal } from '../journal/cut-journal.js'
import { FileSlots } from '../journal/file-slots.js'
import type { CutJournal } from '../ports/io.js'
import type { DestageOrder } from '../volume/destager.js'

export interface JournalPlace {
  readonly name: string
  /** The image as its VM names it, or in words. */
  readonly image: string
  /** A folder that all hosts of the volume share; null: beside the image. */
  readonly folder: string | null
  /** Null: the journal if there is a place for it. */
  readonly order: DestageOrder | null
  readonly danger: DangerOptions | null
}

/** Throws Failure(config) where the order needs a journal and there is no place for it. */
export function planJournal(place: JournalPlace, opened: OpenedBacking): { order: DestageOrder; journal: CutJournal | null } {
  const stem = place.folder !== null ? join(place.folder, place.name) : opened.kind !== 'file' ? null : place.image
  if (stem === null && (place.order ?? 'journal') === 'journal') {
    throw new Failure(EXIT.config, `volume ${place.name}: its backing ${place.image} is no file, so there is no place beside it for the journal of ` +
      'order = "journal"; set journal to a folder that all hosts of this volume share, or choose order = "flush" or "cut"')
  }
  if (stem === null) return { order: place.order ?? 'journal', journal: null }
  const ring = place.folder === null && opened.storage !== null ? opened.storage : storageRing(dirname(stem), false)
  return { order: place.order ?? 'journal', journal: new SlottedJournal(new FileSlots(stem, (path) => openBeside(ring, path, place.danger))) }
}

/** Without a claim nobody knows whether the image is still the one that the journal is for. Throws Failure(damaged). */
export async function refuseLeftJournal(journal: CutJournal | null, image: string): Promise<void> {
  const left = await journal?.pending() ?? null
  if (left === null) return
  throw new Failure(EXIT.damaged, `${image} has a journal with a cut that may not be on it (write ${left.cut} of volume ${left.volume}), and its claim is gone. ` +
    `If the image is the one that was served then: "holdfast journal apply ${image}" brings the cut to it. If it was replaced since: "holdfast journal discard ${image}"`)
}
