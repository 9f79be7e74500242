/**
 * Claims in a directory of the shared file system: `<directory>/<volume>/epoch-<n>.json`, each written once and never
 * changed. Link() is the compare-and-swap: it fails when the name exists, on NFS as well.
 *
 * Readers do not trust a cached directory listing: from the newest name listed they open the next ones until there is
 * none. The heartbeat is one small file replaced by rename: close-to-open consistency then shows a reader either the
 * old or the new one, whole.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, readdir, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import { epoch as toEpoch } from '../core/units.js'
import { limits } from '../limits.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import { decodeClaim, encodeClaim } from './claim-codec.js'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
export const EPOCH_FILE = /^epoch-(\d{16})\.json$/
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

export class PosixDirClaimStore implements ClaimStore {
  readonly where: string
  readonly #mine = `.new-${process.pid}-${randomBytes(4).toString('hex')}`
  #calls = 0

  constructor(directory: string, volume: string) {
    if (!NAME.test(volume)) throw new Failure(EXIT.config, `"${volume}" is not a volume name: letters, digits, ".", "_" and "-", at most 64`)
    this.where = join(directory, volume)
  }

  #file(epoch: number): string { return join(this.where, `epoch-${String(epoch).padStart(16, '0')}.json`) }

  /**
   * A name for one call only: an earlier one that is still under way, or hung half-way, may have linked its file under
   * a claim's name already, and writing to it again would change a claim that others have read.
   */
  #temporary(): string { return join(this.where, `${this.#mine}-${++this.#calls}`) }

  read(): Promise<Claim | null> { return this.#told('read', () => this.#read()) }

  async #read(): Promise<Claim | null> {
    const newest = await this.#newestListed()
    let claim = newest === 0 ? null : await this.#claimAt(newest)
    if (newest > 0 && claim === null) throw new Failure(EXIT.damaged, `the claim ${this.#file(newest)} is listed but cannot be opened; nothing was changed: check the shared directory`)
    for (let next = newest + 1; ; next++) {
      const later = await this.#claimAt(next)
      if (later === null) return claim
      claim = later
    }
  }

  async #newestListed(): Promise<number> {
    let names: string[]
    try {
      names = await readdir(this.where)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return 0
      throw error
    }
    return names.reduce((most, name) => Math.max(most, Number(EPOCH_FILE.exec(name)?.[1] ?? 0)), 0)
  }

  async #claimAt(epoch: number): Promise<Claim | null> {
    const text = await textOf(this.#file(epoch))
    if (text === null) return null
    const claim = decodeClaim(text, this.#file(epoch))
    if (claim.epoch !== epoch) throw new Failure(EXIT.damaged, `the claim ${this.#file(epoch)} says epoch ${claim.epoch}; nothing was changed: somebody renamed it`)
    return claim
  }

  async compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    try {
      return await this.#told('change', () => this.#swap(expected, next))
    } catch {
      return 'unknown'
    }
  }

  async #swap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    await mkdir(this.where, { recursive: true })
    const target = this.#file(expected + 1)
    const temporary = this.#temporary()
    try {
      await writeDurably(temporary, encodeClaim(next))
      await link(temporary, target)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
      // A retried link on NFS finds its own success.
      const there = await this.#claimAt(expected + 1)
      return there?.nonce === next.nonce ? 'won' : 'lost'
    } finally {
      await unlink(temporary).catch(() => undefined)
    }
    await syncDirectory(this.where)
    // Old claims are cleared away, so a change that comes far too late finds its name free.
    if (await this.#newestListed() > next.epoch) return 'lost'
    await this.#prune(next.epoch)
    return 'won'
  }

  /** The last claims stay, so that an administrator can see who had the volume when. */
  async #prune(newest: number): Promise<void> {
    const names = await readdir(this.where).catch(() => [])
    for (const name of names) {
      const epoch = Number(EPOCH_FILE.exec(name)?.[1] ?? newest)
      if (epoch <= newest - limits.claimsKept) await unlink(join(this.where, name)).catch(() => undefined)
    }
  }

  beat(heartbeat: Heartbeat): Promise<void> {
    return this.#told('renew', async () => {
      const temporary = this.#temporary()
      try {
        await writeDurably(temporary, `${JSON.stringify(heartbeat)}\n`)
        await rename(temporary, join(this.where, 'heartbeat.json'))
      } catch (error) {
        await unlink(temporary).catch(() => undefined)
        throw error
      }
    })
  }

  /** Null where there is none, or nothing that could be read as one. */
  async readBeat(): Promise<Heartbeat | null> {
    const text = await this.#told('read', () => textOf(join(this.where, 'heartbeat.json')))
    // An owner that died before its first beat must not keep everybody out.
    if (text === null) return null
    try {
      const beat = JSON.parse(text) as Partial<Heartbeat>
      if (typeof beat.epoch !== 'number' || typeof beat.counter !== 'number' || beat.owner === undefined) return null
      return { owner: beat.owner, epoch: toEpoch(beat.epoch), counter: beat.counter }
    } catch {
      return null
    }
  }

  /** What the system says, as a sentence. Whoever calls this from outside a claim worker may wait for ever. */
  async #told<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (error instanceof Failure) throw error
      throw new Failure(EXIT.unreachable, `the claim directory ${this.where} cannot be used (${what}: ${(error as Error).message}); check the shared storage and its permissions`, { cause: error })
    }
  }
}

/** Null where there is no such file. */
async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
