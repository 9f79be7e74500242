/** What the daemon tells systemd (sd_notify(3)). Without one it tells nobody. */
import { NotifySocket } from '../io/notify-socket.js'

type Environment = Record<string, string | undefined>

export class ServiceManager {
  readonly #socket: NotifySocket | null
  /** How often it wants to hear that the data path moves; null: never. */
  readonly watchdogMs: number | null
  #status = ''

  /** The variables are taken out of the environment: what the daemon starts has nothing to say there. */
  constructor(environment: Environment = process.env) {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: interval, WATCHDOG_PID: pid } = environment
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name]
    this.#socket = path === undefined ? null : NotifySocket.open(path)
    const meant = pid === undefined || Number(pid) === process.pid
    const ms = Number(interval ?? NaN) / 1000
    this.watchdogMs = this.#socket !== null && meant && ms > 0 ? ms : null
  }

  ready(): void { this.#socket?.send('READY=1') }
  alive(): void { this.#socket?.send('WATCHDOG=1') }
  stopping(): void { this.#socket?.send('STOPPING=1') }

  /** READY ends it. */
  reloading(): void { this.#socket?.send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`) }

  /** The start, or the stop, takes its time and goes on. */
  extend(ms: number): void { this.#socket?.send(`EXTEND_TIMEOUT_USEC=${Math.round(ms * 1000)}`) }

  /** One line in `systemctl status`; the same one is told once. */
  status(text: string): void {
    if (text === this.#status) return
    this.#status = text
    this.#socket?.send(`STATUS=${text.replaceAll('\n', ' ')}`)
  }

  close(): void { this.#socket?.close() }
}
