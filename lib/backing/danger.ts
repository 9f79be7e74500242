/** A decorator around any backing that delays and fails: a slow or broken SAN, anywhere. Only under `danger_zone`. */
import { existsSync } from 'node:fs'
import type { Backing, CompletionTarget } from '../ports/io.js'

export interface DangerOptions {
  readonly readDelayMs: number
  readonly writeDelayMs: number
  readonly flushDelayMs: number
  /** Fraction of reads, writes and flushes that fail with EIO while errors are on. */
  readonly errorRate: number
  /** Errors are on while this file exists; always when it is not given. */
  readonly errorFile: string | null
}

const EIO = 5

export class DangerousBacking implements Backing {
  readonly #inner: Backing
  readonly #options: DangerOptions
  #delayedWrites = 0
  #errors = 0

  constructor(inner: Backing, options: DangerOptions) {
    this.#inner = inner
    this.#options = options
  }

  get path(): string { return this.#inner.path }
  get sizeBytes(): number { return this.#inner.sizeBytes }
  refreshSize(): void { this.#inner.refreshSize() }
  get alignmentBytes(): number { return this.#inner.alignmentBytes }
  get readOnly(): boolean { return this.#inner.readOnly }
  get discards(): boolean { return this.#inner.discards }
  get outstandingWrites(): number { return this.#inner.outstandingWrites + this.#delayedWrites }
  get errorGeneration(): number { return this.#inner.errorGeneration + this.#errors }

  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    this.#later(this.#options.readDelayMs, target, token, false, () => this.#inner.read(address, lengthBytes, offsetBytes, target, token))
  }

  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    this.#later(this.#options.writeDelayMs, target, token, true, () => this.#inner.write(address, lengthBytes, offsetBytes, durable, target, token))
  }

  flush(target: CompletionTarget, token: number): void {
    this.#later(this.#options.flushDelayMs, target, token, false, () => this.#inner.flush(target, token))
  }

  zero(offsetBytes: number, lengthBytes: number, unmap: boolean, target: CompletionTarget, token: number): void {
    this.#later(this.#options.writeDelayMs, target, token, true, () => this.#inner.zero(offsetBytes, lengthBytes, unmap, target, token))
  }

  #later(delayMs: number, target: CompletionTarget, token: number, writes: boolean, start: () => void): void {
    if (writes) this.#delayedWrites++
    const run = (): void => {
      if (writes) this.#delayedWrites--
      if (!this.#failsNow()) { start(); return }
      this.#errors++
      target.complete(token, -EIO)
    }
    // Even without a delay an error arrives later, as from a device.
    if (delayMs > 0) setTimeout(run, delayMs)
    else setImmediate(run)
  }

  #failsNow(): boolean {
    const { errorRate, errorFile } = this.#options
    if (errorRate === 0) return false
    return (errorFile === null || existsSync(errorFile)) && Math.random() < errorRate
  }

  close(): void { this.#inner.close() }
}
