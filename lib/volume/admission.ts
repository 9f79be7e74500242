/** Which of the guest's writes may be taken from its ring: there is room for them, and the backing is not too far behind. */
import { REQUEST_KIND, type GuestRequest } from '../ports/guest.js'
import type { Region } from '../ports/region.js'
import { limits } from '../limits.js'
import type { Counters } from './counters.js'
import { PACED_FROM, Pacing } from './pacing.js'
import type { Rates } from './rates.js'
import type { VolumeIndex } from './volume-index.js'
import type { WritePath } from './write-path.js'

export interface AdmissionOptions {
  /** Bytes of the region for the volume's logs and clean blocks; null: no bound. */
  readonly quotaBytes: number | null
  /** The guest's writes wait while the backing is further behind than this; null: no bound. */
  readonly maxDirtyAgeMs: number | null
  /** order = "flush" without a journal: cuts wait one by one. */
  readonly boundedCuts: boolean
}

export interface AdmissionShell {
  readonly region: Region
  readonly index: VolumeIndex
  readonly writes: WritePath
  readonly counters: Counters
  readonly rates: Rates
  logBytes(): number
  dirtyAgeMs(): number
  /** The guest may be asked again. */
  again(): void
  nowMs(): number
}

export class Admission {
  readonly #options: AdmissionOptions
  readonly #shell: AdmissionShell
  readonly #pacing = new Pacing()
  #paced: NodeJS.Timeout | null = null

  constructor(options: AdmissionOptions, shell: AdmissionShell) {
    this.#options = options
    this.#shell = shell
  }

  /** Share of the region in use, by whomever, or of the volume's quota. */
  get fill(): number {
    const { freeSegments, segmentCount } = this.#shell.region, { quotaBytes } = this.#options
    return Math.max(1 - freeSegments / segmentCount, quotaBytes === null ? 0 : this.#shell.logBytes() / quotaBytes)
  }

  /** What the volume may have of the region. */
  get roomBytes(): number {
    const { segmentCount, segmentBytes } = this.#shell.region
    return Math.min(segmentCount * segmentBytes, this.#options.quotaBytes ?? Infinity)
  }

  get tooOld(): boolean { return this.#options.maxDirtyAgeMs !== null && this.#shell.dirtyAgeMs() > this.#options.maxDirtyAgeMs }

  /** So many cuts wait for the backing that the guest has to. */
  get #behind(): boolean { return this.#options.boundedCuts && this.#shell.index.frozenCuts >= limits.flushCutsMax }

  get #overQuota(): boolean {
    const { quotaBytes } = this.#options
    return quotaBytes !== null && this.#shell.logBytes() > quotaBytes && !this.#shell.index.empty
  }

  /** 'yes': its room is reserved. 'no': there is none. 'later': it will be asked for again in a moment. */
  ask(request: GuestRequest): 'yes' | 'no' | 'later' {
    const { writes, rates } = this.#shell
    if (this.#behind || this.tooOld || this.#overQuota || !writes.hasRoom(request)) return 'no'
    const { fill } = this
    if (fill > PACED_FROM) {
      const waitMs = this.#pacing.wait(bytesOf(request), fill, rates.freed, this.#shell.nowMs())
      if (waitMs > 0) { this.#pause(waitMs); return 'later' }
    }
    writes.reserve(request)
    return 'yes'
  }

  #pause(waitMs: number): void {
    this.#shell.counters.pacedMs += this.#paced === null ? waitMs : 0
    this.#paced ??= setTimeout(() => {
      this.#paced = null
      this.#shell.again()
    }, Math.ceil(waitMs))
  }

  stop(): void { if (this.#paced !== null) clearTimeout(this.#paced) }
}

/** A zeroing moves nothing, however long it is. */
const bytesOf = (request: GuestRequest): number => request.kind === REQUEST_KIND.write ? request.lengthSectors * 512 : 0
