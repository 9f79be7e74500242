/**
 * The image guard: while a volume is attached its image is renamed, so that whoever starts the VM behind our back
 * gets an error instead of a disk that is missing its newest writes. A note beside it says who holds it.
 *
 * The renamed entry is the fact, the note only explains, so a crash between the two steps of either direction leaves
 * a state that the next attach or release completes:
 *   attach   rename, note      crash after the rename: guarded without a note; the next attach writes it
 *   release  rename, note      crash after the rename: a note about nothing; the next attach rewrites it
 * A symbolic link is renamed itself: it is the name that a VM's XML knows. What has no name of its own to take away (a
 * block device, a mount point) stays as it is and `status` says "unguarded".
 */
import { closeSync, fsyncSync, lstatSync, openSync, renameSync, rmSync, writeFileSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'

export interface GuardInfo {
  readonly host: string
  readonly volume: string
  readonly socket: string
  /** Where the claim is, for people. */
  readonly claims: string
}

export interface Guarded {
  /** The path that now leads to the image. */
  readonly openPath: string
  /** The renamed path, or null when the image is not guarded. */
  readonly guardedAs: string | null
  /** Why it is not guarded; null when it is. */
  readonly reason: string | null
}

export const heldName = (path: string): string => `${path}.holdfast`
export const noteName = (path: string): string => `${path}.HOLDFAST.txt`

/** Of the entry itself, not of what a link leads to. */
const entry = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false })

/** Where the image is to be opened, whoever has guarded it. Throws Failure(unsafe) when both names exist. */
export function imagePath(path: string): string {
  const held = heldName(path)
  if (entry(held) === undefined) return path
  if (entry(path) === undefined) return held
  throw new Failure(EXIT.unsafe, `both ${path} and ${held} exist, and only one can be the image: ` +
    `if ${path} was restored on purpose, move ${held} away; if not, move ${path} away; then start again (nothing was changed)`)
}

/**
 * Renames the image and writes the note; doing it again, here or on another host, changes nothing but the note.
 * Throws Failure(config) when there is no image, Failure(unsafe) when both names exist.
 */
export function attachImage(path: string, info: GuardInfo): Guarded {
  const held: Guarded = { openPath: heldName(path), guardedAs: heldName(path), reason: null }
  if (imagePath(path) === held.openPath) {
    writeNote(path, info)
    return held
  }
  const found = entry(path)
  if (found === undefined) throw new Failure(EXIT.config, `there is no image ${path}, and no ${held.openPath} either`)
  let reason = found.isBlockDevice() ? 'a block device has no name that a VM could be kept from' : null
  if (found.isDirectory()) throw new Failure(EXIT.config, `${path} is a directory and not an image`)
  if (reason === null) {
    try {
      renameSync(path, held.openPath)
      syncDirectory(path)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      // ENOENT: another host was faster, and its rename is as good as ours.
      if (code !== 'ENOENT' || entry(held.openPath) === undefined) {
        reason = code === 'EBUSY' ? 'it is a mount point, which cannot be renamed; give a symbolic link to it as the backing' : `it cannot be renamed (${code})`
      }
    }
  }
  writeNote(path, info)
  return reason === null ? held : { openPath: path, guardedAs: null, reason }
}

/**
 * Everything is on the backing and nobody serves it: the image gets its name back. Returns null, or why the image
 * keeps the other name; the note then stays too.
 */
export function releaseImage(path: string): string | null {
  const held = heldName(path)
  if (entry(held) !== undefined) {
    if (entry(path) !== undefined) return `${path} came into being while the image was attached; move one of the two away, the image that was served is ${held}`
    try {
      renameSync(held, path)
    } catch (error) {
      return `${held} cannot be renamed back: ${(error as Error).message}`
    }
  }
  rmSync(noteName(path), { force: true })
  syncDirectory(path)
  return null
}

/** A guard that a power cut takes back would let the VM start on what the storage has; some file systems cannot do it. */
function syncDirectory(path: string): void {
  let fd: number | null = null
  try {
    fd = openSync(dirname(path), 'r')
    fsyncSync(fd)
  } catch { /* a server's directory is as durable as the server makes it */ } finally {
    if (fd !== null) closeSync(fd)
  }
}

function writeNote(path: string, info: GuardInfo): void {
  const text = `${path} is attached to Holdfast: volume ${info.volume}, served by host ${info.host} on ${info.socket}
since ${new Date().toISOString()}. Its newest writes are not all in the image yet: nothing else may use it.

To get it back, on ${info.host}: shut the VM down, "holdfast volume flush ${info.volume}", then stop the daemon cleanly (SIGTERM).
The image then has its own name again. No daemon there any more? Start one on a host that the claim names, and do the
same there. The claim is in ${info.claims}.
`
  try { writeFileSync(noteName(path), text) } catch { /* a directory that cannot be written has no note; the rename is what guards */ }
}
