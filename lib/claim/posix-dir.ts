/**
 * Claims in a directory of the shared file system: `<directory>/<volume>/epoch-<n>.json`, a document whose generation is the epoch.
 * The heartbeat is one small file replaced by rename: close-to-open consistency then shows a reader either the old or the
 * new one, whole.
 */
import { rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import { epoch as toEpoch } from '../core/units.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import { decodeClaim, encodeClaim } from './claim-codec.js'
import { DirectoryDocument, textOf, writeDurably } from './directory-document.js'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
export const EPOCH_FILE = /^epoch-(\d{16})\.json$/

export class PosixDirClaimStore implements ClaimStore {
  readonly where: string
  readonly #document: DirectoryDocument

  constructor(directory: string, volume: string) {
    if (!NAME.test(volume)) throw new Failure(EXIT.config, `"${volume}" is not a volume name: letters, digits, ".", "_" and "-", at most 64`)
    this.where = join(directory, volume)
    this.#document = new DirectoryDocument(this.where, { what: 'claim', prefix: 'epoch' })
  }

  async read(): Promise<Claim | null> {
    const found = await this.#document.read()
    if (found === null) return null
    const claim = decodeClaim(found.text, found.where)
    if (claim.epoch !== found.generation) throw new Failure(EXIT.damaged, `the claim ${found.where} says epoch ${claim.epoch}; nothing was changed: somebody renamed it`)
    return claim
  }

  compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> { return this.#document.compareAndSwap(expected, encodeClaim(next)) }

  beat(heartbeat: Heartbeat): Promise<void> {
    return this.#document.told('renew', async () => {
      const temporary = this.#document.temporary()
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
    const text = await this.#document.told('read', () => textOf(join(this.where, 'heartbeat.json')))
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
}
