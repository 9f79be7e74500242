/** A file of our own in a folder that is to be used: made, used, removed, whatever happens. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export async function withProbeFile<T>(folder: string, lengthBytes: number, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(folder, `.holdfast-doctor-${process.pid}-${randomBytes(4).toString('hex')}`)
  const fd = openSync(path, 'wx', 0o600)
  try {
    writeSync(fd, Buffer.alloc(lengthBytes))
    return await use(path)
  } finally {
    closeSync(fd)
    rmSync(path, { force: true })
  }
}
