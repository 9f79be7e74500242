/** The index of inherited logs that a serving owner still lacks: logs that are here, then the maps of the others, behind the guest's back. */
import type { Claim } from '../core/claim.js'
import { limits } from '../limits.js'
import type { Holder } from '../replica/holder.js'
import { canIndex, fetchMaps, indexHere } from './inherited-levels.js'
import type { RemoteReader } from './remote-reader.js'
import type { VolumeIndex } from './volume-index.js'

export interface InheritedIndexShell {
  readonly index: VolumeIndex
  readonly holder: Holder
  readonly remote: RemoteReader
  claim(): Claim
  /** How long ago this host took the volume over. */
  ownedMs(): number
  /** A cut is under way, or a claim change. */
  busy(): boolean
  warn(message: string): void
}

export class InheritedIndex {
  readonly #shell: InheritedIndexShell
  /** Epoch in which the logs that are here were looked through. */
  #lookedAt = 0
  #reading = 0

  constructor(shell: InheritedIndexShell) { this.#shell = shell }

  /** Logs are being read here: no cut begins. */
  get reading(): boolean { return this.#reading > 0 }

  /**
   * Once in each epoch, which may name a copy that has come here by now. Not right after a takeover: a guest that has just moved here
   * waits for its first reads, and map and index would come before them. Never beside a cut: what it retires at its end are the very levels that
   * it has written.
   */
  get #due(): boolean {
    const { index, holder, claim, ownedMs, busy } = this.#shell, { epoch, volume } = claim()
    if (this.#lookedAt === epoch || this.reading || busy()) return false
    return ownedMs() >= limits.indexAfterMs && canIndex(index, holder, volume)
  }

  async tick(): Promise<void> {
    if (!this.#due) return
    const { index, holder, remote, claim, warn } = this.#shell
    this.#lookedAt = claim().epoch
    this.#reading++
    try {
      await indexHere(index, holder, claim, warn)
    } finally {
      this.#reading--
    }
    await fetchMaps(index.inherited, remote, warn)
  }
}
