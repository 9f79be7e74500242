/**
 * Limits of a volume: operations and bytes a second, with a burst. What is over a limit stays in the guest's ring, so
 * a throttled volume costs no memory and its queue depth is the guest's own business. Flushes always pass: they carry
 * no data, and holding them back would hold back what was let through before.
 */
import { TokenBucket } from '../core/token-bucket.js'
import { REQUEST_KIND, type FrontEnd, type Geometry, type GuestRequest, type GuestVolume } from '../ports/guest.js'

export interface VolumeLimits {
  /** Operations a second; null: no limit. */
  readonly iops: number | null
  /** Bytes a second read and written; null: no limit. */
  readonly bytesPerSecond: number | null
  readonly burstMs: number
}

export class ThrottledVolume implements GuestVolume {
  readonly #inner: GuestVolume
  readonly #nowMs: () => number
  readonly #operations: TokenBucket | null
  readonly #bytes: TokenBucket | null
  readonly #frontEnds = new Set<FrontEnd>()
  #timer: NodeJS.Timeout | null = null

  constructor(inner: GuestVolume, limits: VolumeLimits, nowMs: () => number) {
    this.#inner = inner
    this.#nowMs = nowMs
    this.#operations = limits.iops === null ? null : new TokenBucket(limits.iops, limits.burstMs)
    this.#bytes = limits.bytesPerSecond === null ? null : new TokenBucket(limits.bytesPerSecond, limits.burstMs)
  }

  get geometry(): Geometry { return this.#inner.geometry }

  admit(request: GuestRequest): boolean {
    if (request.kind === REQUEST_KIND.flush) return this.#inner.admit(request)
    const now = this.#nowMs(), bytes = bytesOf(request)
    const waitMs = Math.max(this.#operations?.waitMs(1, now) ?? 0, this.#bytes?.waitMs(bytes, now) ?? 0)
    if (waitMs > 0) { this.#later(waitMs); return false }
    if (!this.#inner.admit(request)) return false
    this.#operations?.take(1)
    this.#bytes?.take(bytes)
    return true
  }

  /** One timer for all queues: they ask again together, and the first ones get what there is. */
  #later(waitMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      for (const frontEnd of this.#frontEnds) frontEnd.onRoom()
    }, Math.ceil(waitMs))
  }

  submit(request: GuestRequest): void { this.#inner.submit(request) }
  endBatch(): void { this.#inner.endBatch() }
  setWriteCache(on: boolean): void { this.#inner.setWriteCache(on) }

  activate(frontEnd: FrontEnd): void {
    this.#frontEnds.add(frontEnd)
    this.#inner.activate(frontEnd)
  }

  deactivate(frontEnd: FrontEnd): void {
    this.#frontEnds.delete(frontEnd)
    if (this.#frontEnds.size === 0 && this.#timer !== null) {
      clearTimeout(this.#timer)
      this.#timer = null
    }
    this.#inner.deactivate(frontEnd)
  }
}

/** A zeroing moves nothing, however long it is. */
const bytesOf = (request: GuestRequest): number =>
  request.kind === REQUEST_KIND.read || request.kind === REQUEST_KIND.write ? request.lengthSectors * 512 : 0
