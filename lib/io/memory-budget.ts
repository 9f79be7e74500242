/** Memory that several parts of a process may have together; who gets none goes another, slower way. */
export class MemoryBudget {
  #leftBytes: number

  constructor(bytes: number) { this.#leftBytes = bytes }

  /** False when there is not so much left. */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false
    this.#leftBytes -= bytes
    return true
  }

  give(bytes: number): void { this.#leftBytes += bytes }
}
