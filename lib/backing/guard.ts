/**
 * The image guard: while a volume is attached its image is renamed, so that whoever starts the VM behind our back
 * gets an error instead of a disk that is missing its newest writes. A note beside it says who holds it.
 *
 * Crash-safe in any order: the renamed image is the fact, the note only explains. What cannot be renamed (a block
 * device, a mount point) stays as it is and `status` says "unguarded".
 */
import { lstatSync, renameSync, rmSync, writeFileSync, existsSync, realpathSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'

export interface GuardInfo {
  readonly host: string
  readonly volume: string
  readonly socket: string
  readonly claims: string
}

export interface Guarded {
  /** The path that now leads to the image. */
  readonly openPath: string
  /** The renamed path, or null when the image is not guarded. */
  readonly guardedAs: string | null
  /** Why it is not guarded. */
  readonly reason: string | null
}

export const heldName = (path: string): string => `${path}.holdfast`
export const noteName = (path: string): string => `${path}.HOLDFAST.txt`

const there = (path: string): boolean => {
  try {
    lstatSync(path)
    return true
  } catch {
    return false
  }
}

/** Where the image is to be opened, whoever has guarded it. Throws when both names exist. */
export function imagePath(path: string): string {
  const plain = there(path), held = there(heldName(path))
  if (plain && held) {
    throw new Failure(EXIT.unsafe, `both ${path} and ${heldName(path)} exist, and only one can be the image: ` +
      `if ${path} was restored on purpose, move ${heldName(path)} away; else move ${path} away, and start again (nothing was changed)`)
  }
  return held ? heldName(path) : path
}

/** Renames the image and writes the note; doing it again, here or on another host, changes nothing. */
export function attachImage(path: string, info: GuardInfo): Guarded {
  const openPath = imagePath(path)
  if (openPath !== path) {
    writeNote(path, info)
    return { openPath, guardedAs: openPath, reason: null }
  }
  const status = lstatSync(path)
  if (!status.isFile() && !status.isSymbolicLink()) return unguarded(path, info, 'a block device has no name that a VM could be kept from')
  if (status.isSymbolicLink() && !existsSync(realpathSync(path))) return unguarded(path, info, 'its link leads nowhere')
  try {
    renameSync(path, heldName(path))
  } catch (error) {
    // Another host was faster.
    if (there(heldName(path))) return { openPath: heldName(path), guardedAs: heldName(path), reason: null }
    return unguarded(path, info, `it cannot be renamed (${(error as NodeJS.ErrnoException).code ?? String(error)})`)
  }
  writeNote(path, info)
  return { openPath: heldName(path), guardedAs: heldName(path), reason: null }
}

function unguarded(path: string, info: GuardInfo, reason: string): Guarded {
  writeNote(path, info)
  return { openPath: path, guardedAs: null, reason }
}

function writeNote(path: string, info: GuardInfo): void {
  const text = `${path} is attached to Holdfast: volume ${info.volume}, last served by host ${info.host} on ${info.socket}.\n` +
    `Its newest writes are not all in the image yet, so nothing else may use it. The claim is in ${info.claims}.\n` +
    `To get it back: stop the VM, then "holdfast volume flush ${info.volume}" and stop the daemon there cleanly (SIGTERM);\n` +
    `the image then has its own name again.\n`
  try { writeFileSync(noteName(path), text) } catch { /* a folder that cannot be written has no note; the rename is what guards */ }
}

/** Everything is on the backing and nobody serves it: the image gets its name back. */
export function releaseImage(path: string): void {
  if (there(heldName(path)) && !there(path)) renameSync(heldName(path), path)
  rmSync(noteName(path), { force: true })
}
