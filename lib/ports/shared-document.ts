/** A small text on the shared storage that many hosts read and change, one change at a time. What is in it is for who uses it. */
import type { SwapOutcome } from './claim-store.js'

export interface DocumentText {
  /** From 1 on. */
  readonly generation: number
  readonly text: string
  /** Where it was found, for messages to people. */
  readonly where: string
}

export interface SharedDocument {
  /** The newest one, or null when there never was one. */
  read(): Promise<DocumentText | null>
  /**
   * Makes `text` generation expected + 1 (expected 0: there is none yet). No two changes have the same text, so that a writer recognises
   * its own. One that rejects is of unknown outcome as well.
   */
  compareAndSwap(expected: number, text: string): Promise<SwapOutcome>
}
