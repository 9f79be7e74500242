/**
 * A document in a directory of the shared file system: one file for each generation, written once and never changed. Link() is
 * the compare-and-swap: it fails when the name exists, on NFS as well.
 *
 * Readers do not trust a cached directory listing: from the newest name listed they open the next ones until there is none.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type { SwapOutcome } from '../ports/claim-store.js'
import type { DocumentText, SharedDocument } from '../ports/shared-document.js'

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** `what`: the record in it, for people; `prefix`: of its files. */
export interface DocumentKind { readonly what: string; readonly prefix: string }

export class DirectoryDocument implements SharedDocument {
  readonly where: string
  readonly #kind: DocumentKind
  readonly #pattern: RegExp
  readonly #mine = `.new-${process.pid}-${randomBytes(4).toString('hex')}`
  #calls = 0

  constructor(directory: string, kind: DocumentKind) {
    this.where = directory
    this.#kind = kind
    this.#pattern = new RegExp(`^${kind.prefix}-(\\d{16})\\.json$`)
  }

  #file(generation: number): string { return join(this.where, `${this.#kind.prefix}-${String(generation).padStart(16, '0')}.json`) }

  /**
   * A name for one call only: an earlier one that is still under way, or hung half-way, may have linked its file under
   * a generation's name already, and writing to it again would change a text that others have read.
   */
  temporary(): string { return join(this.where, `${this.#mine}-${++this.#calls}`) }

  read(): Promise<DocumentText | null> { return this.told('read', () => this.#read()) }

  async #read(): Promise<DocumentText | null> {
    const newest = await this.#newestListed()
    let found = newest === 0 ? null : await this.#at(newest)
    if (newest > 0 && found === null) throw new Failure(EXIT.damaged, `the ${this.#kind.what} ${this.#file(newest)} is listed but cannot be opened; nothing was changed: check the shared directory`)
    for (let next = newest + 1; ; next++) {
      const later = await this.#at(next)
      if (later === null) return found
      found = later
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
    return names.reduce((most, name) => Math.max(most, Number(this.#pattern.exec(name)?.[1] ?? 0)), 0)
  }

  async #at(generation: number): Promise<DocumentText | null> {
    const where = this.#file(generation), text = await textOf(where)
    return text === null ? null : { generation, text, where }
  }

  async compareAndSwap(expected: number, text: string): Promise<SwapOutcome> {
    try {
      return await this.told('change', () => this.#swap(expected, text))
    } catch {
      return 'unknown'
    }
  }

  async #swap(expected: number, text: string): Promise<SwapOutcome> {
    await mkdir(this.where, { recursive: true })
    const temporary = this.temporary()
    try {
      await writeDurably(temporary, text)
      await link(temporary, this.#file(expected + 1))
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
      // A retried link on NFS finds its own success.
      return (await this.#at(expected + 1))?.text === text ? 'won' : 'lost'
    } finally {
      await unlink(temporary).catch(() => undefined)
    }
    await syncDirectory(this.where)
    // Old ones are cleared away, so a change that comes far too late finds its name free.
    if (await this.#newestListed() > expected + 1) return 'lost'
    await this.#prune(expected + 1)
    return 'won'
  }

  /** The last ones stay, so that an administrator can see what was when. */
  async #prune(newest: number): Promise<void> {
    const names = await readdir(this.where).catch(() => [])
    for (const name of names) {
      const generation = Number(this.#pattern.exec(name)?.[1] ?? newest)
      if (generation <= newest - limits.claimsKept) await unlink(join(this.where, name)).catch(() => undefined)
    }
  }

  /** What the system says, as a sentence. Whoever calls this from outside a claim worker may wait for ever. */
  async told<T>(doing: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (error instanceof Failure) throw error
      throw new Failure(EXIT.unreachable, `the ${this.#kind.what} directory ${this.where} cannot be used (${doing}: ${(error as Error).message}); check the shared storage and its permissions`, { cause: error })
    }
  }
}

/** Null where there is no such file. */
export async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

export async function writeDurably(path: string, text: string): Promise<void> {
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
