/** Who waits for what to be on the backing, and which members know that it is. */
import type { Won } from '../core/units.js'

interface Waiter { readonly target: Won; readonly resolve: () => void; readonly reject: (error: Error) => void }

export class BaseWatch {
  readonly #base: () => Won
  readonly #members: () => readonly string[]
  readonly #knownBy = new Map<string, Won>()
  #waiters: Waiter[] = []

  /** `members`: the set without the owner. */
  constructor(base: () => Won, members: () => readonly string[]) {
    this.#base = base
    this.#members = members
  }

  /** `host` made this base durable. */
  known(host: string, base: Won): void {
    this.#knownBy.set(host, base)
    this.wake()
  }

  knownTo(host: string): Won | undefined { return this.#knownBy.get(host) }

  /** A won is promised to be on the backing only when base is durable on every member (protocol, R16). */
  reached(target: Won): boolean {
    return this.#base() >= target && this.#members().every((host) => (this.#knownBy.get(host) ?? 0) >= target)
  }

  /** Resolves when it is promised; rejects when this host is not the owner any more. */
  wait(target: Won): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ target, resolve, reject })
      this.wake()
    })
  }

  /** Somebody waits for a base that has not been reached here. */
  get wanted(): boolean { return this.#waiters.some((waiter) => this.#base() < waiter.target) }

  wake(): void {
    const ready = this.#waiters.filter((waiter) => this.reached(waiter.target))
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter))
    for (const waiter of ready) waiter.resolve()
  }

  fail(error: Error): void { for (const waiter of this.#waiters.splice(0)) waiter.reject(error) }
}
