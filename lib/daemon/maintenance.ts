/**
 * Whether this host is in maintenance. It outlives the daemon, because the reboot that it is for starts the daemon again: a
 * file beside the region, where what it is about is, and which a region that is formatted anew does not bring back. A block
 * device has no place beside it, and a superblock field would be a new format for a word: there it is in /var/lib/holdfast.
 */
import { closeSync, existsSync, fsyncSync, lstatSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'

const STATE = '/var/lib/holdfast'

/** What a host notes for itself beside its region. */
export const noteBeside = (regionPath: string, host: string, ending: string): string =>
  lstatSync(regionPath).isFile() ? `${regionPath}.${ending}` : join(STATE, `${host}.${ending}`)

export class Maintenance {
  readonly path: string
  #on: boolean

  constructor(regionPath: string, host: string) {
    this.path = noteBeside(regionPath, host, 'maintenance')
    this.#on = existsSync(this.path)
  }

  get on(): boolean { return this.#on }

  /** Durable when it returns. Throws Failure(config). */
  set(on: boolean): void {
    try {
      mkdirSync(dirname(this.path), { recursive: true })
      if (on) synced(this.path, 'w')
      else rmSync(this.path, { force: true })
      synced(dirname(this.path), 'r')
    } catch (error) {
      throw new Failure(EXIT.config, `maintenance cannot be noted in ${this.path}: ${(error as Error).message}`, { cause: error })
    }
    this.#on = on
  }
}

function synced(path: string, flags: string): void {
  const fd = openSync(path, flags, 0o600)
  try { fsyncSync(fd) } finally { closeSync(fd) }
}
