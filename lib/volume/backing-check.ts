/**
 * Before a new owner serves: is the backing what it was when the volume was served last? Only what happened while nobody
 * served it is looked for, so a hand-over by a living owner waits for nothing here.
 *
 * released        nothing is dirty, so a changed image is the truth: it is said, and nothing read before counts (H63).
 * unclean, dirty  a changed image under dirty data would become a mixture of two disks: it is refused (H64).
 *
 * What cannot be read proves nothing either way, and does not keep the guest from its disk.
 */
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { fingerprintDifference, logsAreComplete, type BlockSample, type Fingerprint } from '../core/fingerprint.js'
import { RUN } from '../core/layer.js'
import { RunBuffer } from '../core/run-list.js'
import { crc } from '../io/crc.js'
import { allEnded } from '../io/operation.js'
import { readBytes, within } from '../io/read-bytes.js'
import { limits } from '../limits.js'
import type { Backing } from '../ports/io.js'
import type { VolumeIndex } from './volume-index.js'

/**
 * 'same': what was read from the backing when the volume was last served is still there, as far as samples can tell.
 * 'unknown': nobody vouches for it; no fingerprint was taken, or another host, which may have written, served meanwhile.
 */
export type BackingVerdict = 'same' | 'changed' | 'unknown'

export interface BackingCheckShell {
  readonly name: string
  readonly backing: Backing
  readonly index: VolumeIndex
  /** At the places of an image of this size; null where nobody takes one. */
  readonly fingerprint: ((placesOfBytes: number) => Promise<Fingerprint>) | null
  warn(message: string): void
}

export class BackingCheck {
  readonly #shell: BackingCheckShell
  #verdict: BackingVerdict = 'unknown'
  #changed: string | null = null
  #refused: string | null = null

  constructor(shell: BackingCheckShell) { this.#shell = shell }

  /** Of the last takeover. Whatever was cached of a backing that is not 'same' must go before the guest is served. */
  get verdict(): BackingVerdict { return this.#verdict }
  /** How it was changed while nobody served it; null: it was not, as far as is known. */
  get changed(): string | null { return this.#changed }
  /** Why the volume is not served; null: it may be. */
  get refused(): string | null { return this.#refused }

  /** The index has what was inherited. Throws Failure(damaged) when the dirty data belongs to another image. */
  async beforeServing(claim: Claim, from: Claim | null): Promise<void> {
    this.#verdict = 'unknown'
    this.#changed = null
    this.#refused = null
    try {
      if (from?.released === true) await this.#released(claim, from)
      else if (claim.quarantine) await this.#unclean(claim)
    } catch (error) {
      if (error instanceof Failure) throw error
      this.#shell.warn(`whether the backing is as it was left cannot be told: ${(error as Error).message}`)
    }
  }

  async #released(claim: Claim, { fingerprint }: Claim): Promise<void> {
    const look = this.#shell.fingerprint
    const [now, wrong] = await Promise.all([
      fingerprint === undefined || look === null ? null : look(fingerprint.sizeBytes), this.#wrong(claim.samples ?? []),
    ])
    const { content, time, blocks } = fingerprint === undefined || now === null ? { content: [], time: null, blocks: 0 } : fingerprintDifference(fingerprint, now)
    const changed = [...content, ...(wrong.length === 0 ? [] : [whatIsWrong(wrong, claim.samples!)])]
    if (changed.length > 0) this.#say([...changed, ...(time === null ? [] : [time])].join(', '))
    else if (time !== null) this.#sayTime(`${time}, although its size and ${blocks} sampled blocks are the same`)
    else this.#verdict = now === null ? 'unknown' : 'same'
  }

  async #unclean(claim: Claim): Promise<void> {
    const samples = claim.samples ?? []
    // Without all records since base something may have reached the backing that no log here shows.
    if (samples.length === 0 || !logsAreComplete(claim)) return
    const wrong = await this.#wrong(samples.filter((sample) => this.#isUncovered(sample)))
    if (wrong.length === 0) return
    const what = whatIsWrong(wrong, samples)
    if (claim.inherited.length === 0) { this.#say(what); return }
    this.#refused = `${this.#shell.backing.path} is not the image that the dirty data of volume ${this.#shell.name} belongs to: ${what}. ` +
      'It was restored, rolled back or changed while nobody served it, or it lost what it had confirmed. Nothing was written to it, and the guest waits. ' +
      `Either put back the image as it was left and start the daemon again, with nothing lost; or give up what is only in the logs of ` +
      `{${[...new Set(claim.inherited.flatMap((log) => log.holders.map((m) => m.host)))].join(', ')}} and go on with this image: ` +
      `"holdfast volume discard-dirty ${this.#shell.name} --accept-data-loss"`
    throw new Failure(EXIT.damaged, this.#refused)
  }

  /** A clean stop, or nothing dirty: said, and the image is the truth. */
  #say(difference: string): void {
    this.#verdict = 'changed'
    this.#changed = difference
    this.#shell.warn(`${this.#shell.backing.path} was changed while nobody served it: ${difference}; nothing was dirty, so the volume goes on with what is there`)
  }

  #sayTime(difference: string): void {
    this.#verdict = 'changed'
    this.#changed = difference
    this.#shell.warn(`${this.#shell.backing.path} may have been changed while nobody served it: ${difference}; nothing that was cached of it counts`)
  }

  /** No dirty data lies above it, so nobody has had a reason to write there since. */
  #isUncovered({ lba, sectors }: BlockSample): boolean {
    // Of a log that only others hold the map is not here yet: it may have anything.
    return this.#shell.index.inherited.every(({ layer }) => {
      if (layer === null) return false
      const runs = new RunBuffer()
      layer.lookup(lba, sectors, runs)
      return runs.kind.subarray(0, runs.count).every((kind) => kind === RUN.absent)
    })
  }

  async #wrong(samples: readonly BlockSample[]): Promise<BlockSample[]> {
    const holds = await within(limits.backingCheckMs, allEnded(samples.map((sample) => this.#holds(sample))))
    return samples.filter((_, i) => !holds[i]!)
  }

  async #holds({ lba, sectors, crc: left }: BlockSample): Promise<boolean> {
    const { backing } = this.#shell
    try {
      return crc(await readBytes(backing, lba * 512, sectors * 512), 0) === left
    } catch (error) {
      if ((lba + sectors) * 512 > backing.sizeBytes) return false
      throw error
    }
  }
}

const whatIsWrong = (wrong: readonly BlockSample[], samples: readonly BlockSample[]): string =>
  `${wrong.length} of ${samples.length} places that the last cut wrote have other contents (${wrong.map(({ lba }) => `sector ${lba}`).join(', ')})`
