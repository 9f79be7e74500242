/**
 * A claim store that looks at the image and closes it before the claim says that nobody has it: from then on another host
 * may open it, and whoever changes it otherwise is found out by its fingerprint (H63).
 */
import type { Claim } from '../core/claim.js'
import type { Fingerprint } from '../core/fingerprint.js'
import type { Epoch } from '../core/units.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'

export interface ClosedImage {
  /** Nothing is dirty and nothing is being written any more. */
  fingerprint(): Promise<Fingerprint>
  close(): Promise<void>
  warn(message: string): void
}

export class ClosingStore implements ClaimStore {
  readonly #inner: ClaimStore
  readonly #image: ClosedImage
  /** A swap of unknown outcome is tried again, when the image is closed already. */
  #released: Claim | null = null

  constructor(inner: ClaimStore, image: ClosedImage) {
    this.#inner = inner
    this.#image = image
  }

  get where(): string { return this.#inner.where }
  read(): Promise<Claim | null> { return this.#inner.read() }
  beat(heartbeat: Heartbeat): Promise<void> { return this.#inner.beat(heartbeat) }
  readBeat(): Promise<Heartbeat | null> { return this.#inner.readBeat() }

  async compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    if (next.released !== true) return this.#inner.compareAndSwap(expected, next)
    if (this.#released?.nonce !== next.nonce) this.#released = await this.#withFingerprint(next)
    await this.#image.close()
    return this.#inner.compareAndSwap(expected, this.#released)
  }

  async #withFingerprint(next: Claim): Promise<Claim> {
    try {
      return { ...next, fingerprint: await this.#image.fingerprint() }
    } catch (error) {
      this.#image.warn(`no fingerprint of the image is left, so a change of it before the next start may go unnoticed: ${(error as Error).message}`)
      return next
    }
  }
}
