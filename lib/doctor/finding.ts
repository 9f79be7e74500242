/** What a check has found, and what to do about it. */

export type Level = 'ok' | 'warn' | 'fail'

export interface Finding {
  /** What it is about: "kernel", "region", "volume db01". */
  readonly about: string
  readonly level: Level
  readonly text: string
  /** What to do; null where there is nothing to do. */
  readonly remedy: string | null
}

export const ok = (about: string, text: string): Finding => ({ about, level: 'ok', text, remedy: null })
export const warn = (about: string, text: string, remedy: string): Finding => ({ about, level: 'warn', text, remedy })
export const fail = (about: string, text: string, remedy: string): Finding => ({ about, level: 'fail', text, remedy })

/** Errors of this program say what is wrong, and then what to do; `remedy` is for those of the system. */
export function failedBy(about: string, error: unknown, remedy: string): Finding {
  const message = messageOf(error).replace(/ \(nothing was (changed|written)\)/, ''), end = /; |: (?=if )/.exec(message)
  return end === null ? fail(about, message, remedy) : fail(about, message.slice(0, end.index), message.slice(end.index + 2))
}

/** The system's own words name the path once more, and the call. */
export function messageOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ENOENT' ? 'there is no such file' : message.replace(/, \w+ '.*'$/, '')
}
