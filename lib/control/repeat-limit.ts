/**
 * A storage that refuses every request, or a guest that breaks its ring again and again, must not fill the log. Of lines
 * that say the same, the first few in a while are written; the others are counted, and their number is written at its end.
 */
import { limits } from '../limits.js'
import type { LoggedLine } from '../ports/measures.js'

type Level = LoggedLine['level']

interface Said { readonly level: Level; readonly component: string; times: number; /** The last one that was left out. */ message: string; readonly timer: NodeJS.Timeout }

export class RepeatLimit {
  readonly #write: (level: Level, component: string, message: string) => void
  readonly #windowMs: number
  /** Oldest first. */
  readonly #said = new Map<string, Said>()
  suppressed = 0

  constructor(write: (level: Level, component: string, message: string) => void, windowMs: number = limits.logWindowMs) {
    this.#write = write
    this.#windowMs = windowMs
  }

  say(level: Level, component: string, message: string): void {
    // Warnings often differ in a number only: a sector, an errno, a time.
    const key = `${level} ${component} ${level === 'warn' ? message.replace(/\d+/g, '#') : message}`
    const said = this.#said.get(key)
    if (said === undefined) {
      this.#begin(key, level, component, message)
      this.#write(level, component, message)
    } else if (++said.times <= limits.logRepeatsMax) {
      this.#write(level, component, message)
    } else {
      said.message = message
      this.suppressed++
    }
  }

  #begin(key: string, level: Level, component: string, message: string): void {
    const [oldest] = this.#said.keys()
    if (this.#said.size >= limits.logMessagesMax && oldest !== undefined) this.#end(oldest)
    const timer = setTimeout(() => this.#end(key), this.#windowMs)
    timer.unref()
    this.#said.set(key, { level, component, times: 1, message, timer })
  }

  #end(key: string): void {
    const { level, component, times, message, timer } = this.#said.get(key)!, left = times - limits.logRepeatsMax
    clearTimeout(timer)
    this.#said.delete(key)
    if (left > 0) this.#write(level, component, `${message} (${left} more of these were left out within ${this.#windowMs / 1000} s)`)
  }
}
