/**
 * NEW = a copy of the image with the chain's records applied in order. It is written under another name and gets its
 * own when everything is on the disk: a file of that name is whole.
 */
import {
  closeSync, constants, copyFileSync, existsSync, fstatSync, fsyncSync, ftruncateSync, linkSync, openSync, readSync, renameSync, rmSync, unlinkSync, writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import { ENTRY, entryKind, entryLba, entryPayload, entrySectors, parseHeader, verifyPayload } from '../core/record.js'
import { SECTOR_BYTES } from '../core/units.js'
import { crc } from '../io/crc.js'
import { blockDeviceBytes, punchHole } from '../io/libc.js'
import { limits } from '../limits.js'
import type { Piece } from './chain.js'

const CHUNK = 1024 * 1024
/** Holes are made where this much is zero. */
const HOLE = 64 * 1024

export type Progress = (doneBytes: number, totalBytes: number) => void

export const partName = (out: string): string => `${out}.part`

/** Throws Failure(unsafe) where one of the names is taken. */
export function refuseExisting(out: string): void {
  if (existsSync(out)) throw new Failure(EXIT.unsafe, `${out} exists, and salvage writes only what is new; choose another name (nothing was changed)`)
  if (existsSync(partName(out))) throw new Failure(EXIT.unsafe, `${partName(out)} exists: another salvage is running, or was broken off; remove it if not (nothing was changed)`)
}

export function imageBytes(path: string): number {
  const fd = openSync(path, constants.O_RDONLY)
  try {
    const status = fstatSync(fd)
    return status.isBlockDevice() ? blockDeviceBytes(fd) ?? 0 : status.size
  } finally {
    closeSync(fd)
  }
}

/** `regions`: paths, in the order that the pieces count them. Returns the bytes of guest data applied. */
export function writeImage(image: string, out: string, regions: readonly string[], pieces: readonly Piece[], progress: Progress): number {
  const part = partName(out), sizeBytes = imageBytes(image)
  const recordBytes = pieces.reduce((sum, { list, first, count }) => sum + bytesOf(list, first, count), 0), total = sizeBytes + recordBytes
  try {
    copyImage(image, part, sizeBytes, (done) => progress(done, total))
    const fd = openSync(part, 'r+')
    let applied = 0
    try {
      applied = applyPieces(fd, regions, pieces, (done) => progress(sizeBytes + done, total))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    name(part, out)
    return applied
  } catch (error) {
    rmSync(part, { force: true })
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.unreachable, `${out} cannot be written (${(error as Error).message}); nothing of it is left`, { cause: error })
  }
}

function bytesOf(list: Piece['list'], first: number, count: number): number {
  let sum = 0
  for (let i = first; i < first + count; i++) sum += list.at(i).lengthBytes
  return sum
}

/** Shares the image's blocks where the file system can, else copies and leaves holes for zeros. */
function copyImage(image: string, part: string, sizeBytes: number, progress: (doneBytes: number) => void): void {
  try {
    copyFileSync(image, part, constants.COPYFILE_EXCL + constants.COPYFILE_FICLONE_FORCE)
    progress(sizeBytes)
    return
  } catch {
    rmSync(part, { force: true })
  }
  const from = openSync(image, constants.O_RDONLY), to = openSync(part, 'wx', 0o600)
  try {
    ftruncateSync(to, sizeBytes)
    const chunk = Buffer.alloc(CHUNK), zeros = Buffer.alloc(HOLE)
    for (let at = 0; at < sizeBytes;) {
      const n = readSync(from, chunk, 0, CHUNK, at)
      if (n === 0) throw new Failure(EXIT.damaged, `${image} ends at byte ${at} of ${sizeBytes}`)
      for (let i = 0; i < n; i += HOLE) {
        const length = Math.min(HOLE, n - i)
        if (zeros.compare(chunk, i, i + length, 0, length) !== 0) writeAll(to, chunk.subarray(i, i + length), at + i)
      }
      at += n
      progress(at)
    }
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

function writeAll(fd: number, bytes: Uint8Array, offsetBytes: number): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, offsetBytes + done)
}

function applyPieces(fd: number, regions: readonly string[], pieces: readonly Piece[], progress: (doneBytes: number) => void): number {
  const files = regions.map((path) => openSync(path, constants.O_RDONLY))
  const memory = new Uint8Array(limits.recordHeaderBytes + limits.recordPayloadBytesMax)
  let done = 0, applied = 0
  try {
    for (const { region, list, first, count } of pieces) {
      for (let i = first; i < first + count; i++) {
        const { offsetBytes, lengthBytes, headerCrc, won } = list.at(i), record = memory.subarray(0, lengthBytes)
        readSync(files[region]!, record, 0, lengthBytes, offsetBytes)
        const header = parseHeader(record, crc)
        // It was good a moment ago; a disk that is failing gives no second promise.
        if ('problem' in header || header.headerCrc !== headerCrc || !verifyPayload(record, header, crc)) {
          throw new Failure(EXIT.damaged, `record ${won} at byte ${offsetBytes} of ${regions[region]!} was good and is not any more; copy the region to a good disk and salvage from the copy`)
        }
        for (let entry = 0; entry < header.entryCount; entry++) {
          const at = entryLba(header, entry) * SECTOR_BYTES, length = entrySectors(header, entry) * SECTOR_BYTES
          if (entryKind(header, entry) === ENTRY.data) writeAll(fd, record.subarray(entryPayload(header, entry), entryPayload(header, entry) + length), at)
          else zero(fd, at, length)
          applied += length
        }
        progress(done += lengthBytes)
      }
    }
    return applied
  } finally {
    for (const file of files) closeSync(file)
  }
}

function zero(fd: number, offsetBytes: number, lengthBytes: number): void {
  if (punchHole(fd, offsetBytes, lengthBytes)) return
  const zeros = new Uint8Array(Math.min(CHUNK, lengthBytes))
  for (let done = 0; done < lengthBytes; done += CHUNK) writeAll(fd, zeros.subarray(0, Math.min(CHUNK, lengthBytes - done)), offsetBytes + done)
}

/** A link never replaces what somebody made meanwhile; not every file system has them. */
function name(part: string, out: string): void {
  try {
    linkSync(part, out)
    unlinkSync(part)
  } catch {
    refuseTaken(out)
    renameSync(part, out)
  }
  const directory = openSync(dirname(out), constants.O_RDONLY)
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function refuseTaken(out: string): void {
  if (existsSync(out)) throw new Failure(EXIT.unsafe, `${out} was made by somebody else meanwhile; choose another name`)
}
