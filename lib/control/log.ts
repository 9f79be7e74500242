/**
 * Logs go to stderr. Short lines for people at a terminal or with LOG_FORMAT=text; JSON, one object a line with time,
 * level, component and msg, everywhere else or with LOG_FORMAT=json. Where stderr is the systemd journal, each line begins
 * with its priority. Rotation and storage are the journal's business. What repeats is bounded (repeat-limit.ts).
 */
import { fstatSync } from 'node:fs'
import { pino } from 'pino'
import { limits } from '../limits.js'
import type { LoggedLine } from '../ports/measures.js'
import { RepeatLimit } from './repeat-limit.js'

export interface Logger {
  info(message: string): void
  warn(message: string): void
  /** A part of this one: its name follows this one's in every line. */
  child(name: string): Logger
}

/** What was said lately. */
export interface LogHistory {
  /** The newest last. */
  readonly recent: readonly LoggedLine[]
  /** Lines that were not written, because they said what had been said often enough. */
  readonly suppressed: number
}

export function createLogger(name = ''): Logger & LogHistory { return new Log(name) }

type Level = LoggedLine['level']
type Line = (level: Level, component: string, message: string) => void

/** As syslog numbers them. */
const PRIORITY: Readonly<Record<Level, string>> = { info: '<6>', warn: '<4>' }

/** systemd tells a service which device and inode its journal is. */
function isJournal(): boolean {
  try {
    const { dev, ino } = fstatSync(2)
    return process.env['JOURNAL_STREAM'] === `${dev}:${ino}`
  } catch {
    return false
  }
}

function writer(): Line {
  const format = process.env['LOG_FORMAT'], journal = isJournal()
  const prefix = (level: Level): string => journal ? PRIORITY[level] : ''
  if (format === 'text' || (format === undefined && process.stderr.isTTY)) {
    // UTC time of day, "!" for a warning.
    return (level, component, message) => {
      const time = new Date().toISOString().slice(11, 23)
      process.stderr.write(`${prefix(level)}${time} ${level === 'warn' ? '!' : ' '} ${component === '' ? '' : `${component}: `}${message}\n`)
    }
  }
  // Synchronous: what was said just before a crash is what matters most.
  const stderr = pino.destination({ dest: 2, sync: true })
  let level: Level = 'info'
  const log = pino({
    base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) },
  }, { write: (line) => { stderr.write(`${prefix(level)}${line}`) } })
  return (of, component, message) => {
    level = of
    log[of](component === '' ? {} : { component }, message)
  }
}

class Log implements Logger, LogHistory {
  readonly recent: LoggedLine[] = []
  readonly #name: string
  readonly #write = writer()
  readonly #repeats = new RepeatLimit((level, component, message) => this.#say(level, component, message))
  #number = 0

  constructor(name: string) { this.#name = name }

  get suppressed(): number { return this.#repeats.suppressed }

  #say(level: Level, component: string, message: string): void {
    this.recent.push({ number: ++this.#number, time: new Date().toISOString(), level, component, message })
    if (this.recent.length > limits.recentLines) this.recent.shift()
    this.#write(level, component, message)
  }

  info(message: string): void { this.#repeats.say('info', this.#name, message) }
  warn(message: string): void { this.#repeats.say('warn', this.#name, message) }
  child(name: string): Logger { return new Part(this.#name === '' ? name : `${this.#name} ${name}`, this.#repeats) }
}

class Part implements Logger {
  readonly #name: string
  readonly #repeats: RepeatLimit
  constructor(name: string, repeats: RepeatLimit) {
    this.#name = name
    this.#repeats = repeats
  }

  info(message: string): void { this.#repeats.say('info', this.#name, message) }
  warn(message: string): void { this.#repeats.say('warn', this.#name, message) }
  child(name: string): Logger { return new Part(`${this.#name} ${name}`, this.#repeats) }
}
