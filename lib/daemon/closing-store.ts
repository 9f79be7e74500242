/** A claim store that closes the image before the claim says that nobody has it: from then on another host may open it. */
import type { Claim } from '../core/claim.js'
import type { Epoch } from '../core/units.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'

export class ClosingStore implements ClaimStore {
  readonly #inner: ClaimStore
  readonly #close: () => Promise<void>

  constructor(inner: ClaimStore, close: () => Promise<void>) {
    this.#inner = inner
    this.#close = close
  }

  get where(): string { return this.#inner.where }
  read(): Promise<Claim | null> { return this.#inner.read() }
  beat(heartbeat: Heartbeat): Promise<void> { return this.#inner.beat(heartbeat) }
  readBeat(): Promise<Heartbeat | null> { return this.#inner.readBeat() }

  async compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    if (next.released === true) await this.#close()
    return this.#inner.compareAndSwap(expected, next)
  }
}
