/**
 * An error that a person reads: one sentence that says what, where and what to do, and the exit code it leads to.
 */

/** Exit codes of every command; docs/exit-codes in README. */
export const EXIT = {
  done: 0,
  usage: 64,
  damaged: 65,
  unreachable: 69,
  internal: 70,
  unsafe: 75,
  denied: 77,
  config: 78,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export class Failure extends Error {
  readonly exitCode: ExitCode
  constructor(exitCode: ExitCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'Failure'
    this.exitCode = exitCode
  }
}
