/**
 * Logs go to stderr. Short lines for people at a terminal or with LOG_FORMAT=text; JSON, one object a line with time,
 * level, component and msg, everywhere else or with LOG_FORMAT=json. Rotation and storage are the journal's business.
 */
import { pino } from 'pino'

export interface Logger {
  info(message: string): void
  warn(message: string): void
  /** A part of this one: its name follows this one's in every line. */
  child(name: string): Logger
}

export function createLogger(name = ''): Logger {
  const format = process.env['LOG_FORMAT']
  if (format === 'text' || (format === undefined && process.stderr.isTTY)) return new NamedLogger(name, textLine)
  // Synchronous: what was said just before a crash is what matters most.
  const log = pino({
    base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) },
  }, pino.destination({ dest: 2, sync: true }))
  return new NamedLogger(name, (level, component, message) => log[level](component === '' ? {} : { component }, message))
}

type Line = (level: 'info' | 'warn', component: string, message: string) => void

/** UTC time of day, "!" for a warning. */
const textLine: Line = (level, component, message) => {
  const time = new Date().toISOString().slice(11, 23)
  process.stderr.write(`${time} ${level === 'warn' ? '!' : ' '} ${component === '' ? '' : `${component}: `}${message}\n`)
}

class NamedLogger implements Logger {
  readonly #name: string
  readonly #line: Line
  constructor(name: string, line: Line) {
    this.#name = name
    this.#line = line
  }

  info(message: string): void { this.#line('info', this.#name, message) }
  warn(message: string): void { this.#line('warn', this.#name, message) }
  child(name: string): Logger { return new NamedLogger(this.#name === '' ? name : `${this.#name} ${name}`, this.#line) }
}
