/** Logs go to stderr: short lines for people at a terminal or with LOG_FORMAT=text, JSON (pino) for machines otherwise. */
import { pino } from 'pino'

export interface Logger {
  info(message: string): void
  warn(message: string): void
  child(name: string): Logger
}

export function createLogger(name = ''): Logger {
  const asText = process.env['LOG_FORMAT'] === 'text' || (process.env['LOG_FORMAT'] === undefined && process.stderr.isTTY)
  if (asText) return new TextLogger(name)
  const base = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }))
  return wrap(name === '' ? base : base.child({ component: name }))
}

interface PinoLike { info(message: string): void; warn(message: string): void; child(bindings: object): PinoLike }

const wrap = (log: PinoLike): Logger => ({
  info: (message) => log.info(message), warn: (message) => log.warn(message), child: (name) => wrap(log.child({ component: name })),
})

class TextLogger implements Logger {
  readonly #name: string
  constructor(name: string) { this.#name = name }
  info(message: string): void { this.#line(' ', message) }
  warn(message: string): void { this.#line('!', message) }
  child(name: string): Logger { return new TextLogger(this.#name === '' ? name : `${this.#name} ${name}`) }

  #line(mark: string, message: string): void {
    process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${mark} ${this.#name === '' ? '' : `${this.#name}: `}${message}\n`)
  }
}
