/**
 * The daemon's end of one claim worker. Every call has a bound and calls at a time are bounded. A worker that dies is started
 * anew; one that hangs is killed, or left behind where the kernel cannot do that, and another one takes over.
 *
 * What was asked of a worker that is gone may have been done, and may be done later: a swap is then of unknown outcome.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { SAID, type AnswerTo, type ClaimCall, type NumberedCall, type WorkerMessage } from './worker-calls.js'

export interface WorkerLog {
  info(message: string): void
  warn(message: string): void
}

interface Pending {
  readonly message: NumberedCall
  readonly resolve: (value: never) => void
  readonly reject: (error: Failure) => void
  readonly timer: NodeJS.Timeout
  sentMs: number
}

const MAIN = fileURLToPath(new URL('worker-main.js', import.meta.url))
const STDERR_CHARACTERS = 4096

export class ClaimWorker {
  /** The datastore, for messages to people. */
  about: string
  readonly #log: WorkerLog
  readonly #waiting: Pending[] = []
  /** Sent and not answered, also when the caller was told meanwhile that it took too long. */
  readonly #sent = new Map<number, Pending>()
  readonly #left = new Set<ChildProcess>()
  #child: ChildProcess | null = null
  #ready = false
  #startedMs = 0
  #pauseMs: number = limits.claimWorkerRestartMinMs
  #restart: NodeJS.Timeout | null = null
  #hungSinceMs: number | null = null
  #calls = 0
  #closed = false

  constructor(about: string, log: WorkerLog) {
    this.about = about
    this.#log = log
  }

  get pid(): number | null { return this.#child?.pid ?? null }
  /** Nothing was asked of it that is not answered. */
  get idle(): boolean { return this.#waiting.length === 0 && this.#sent.size === 0 }

  call<C extends ClaimCall>(call: C): Promise<AnswerTo<C>> {
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#waiting.length >= limits.claimCallsWaitingMax) {
        reject(new Failure(EXIT.unreachable, `the claims in ${call.place} cannot be used: ${this.#closed ? 'this host is stopping' : 'too many calls wait already'}`))
        return
      }
      const id = ++this.#calls, boundMs = limits.claimTimeoutMs + (this.#ready ? 0 : limits.claimWorkerStartMs)
      const timer = setTimeout(() => this.#late(pending, boundMs), boundMs)
      const pending: Pending = { message: { id, call }, resolve, reject, timer, sentMs: 0 }
      this.#waiting.push(pending)
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#closed || this.#waiting.length === 0) return
    if (this.#child === null) { this.#start(); return }
    while (this.#ready && this.#sent.size < limits.claimCallsMax && this.#waiting.length > 0) {
      const pending = this.#waiting.shift()!
      pending.sentMs = performance.now()
      this.#sent.set(pending.message.id, pending)
      this.#child.send(pending.message, () => undefined)
    }
  }

  // --- the process -----------------------------------------------------------------------------------------------------------

  #start(): void {
    if (this.#restart !== null) return
    const child = this.#child = fork(MAIN, [], {
      // Its own folder would keep a file system from being unmounted; a thread for each call, so that none waits behind a hung one.
      cwd: '/', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, UV_THREADPOOL_SIZE: String(limits.claimCallsMax) },
    })
    this.#ready = false
    this.#startedMs = performance.now()
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-STDERR_CHARACTERS) }).on('error', () => undefined)
    // What keeps this process alive is somebody who waits for an answer.
    child.unref()
    child.channel!.unref()
    ;(child.stderr as unknown as { unref(): void }).unref()
    child.on('message', (message) => { if (child === this.#child) this.#heard(message as WorkerMessage) })
    child.on('error', (error) => { if (child.pid === undefined) this.#ended(child, error.message) })
    child.on('exit', (code, signal) => this.#ended(child, `${signal ?? `exit code ${code}`}${said === '' ? '' : `: ${said.trim().split('\n').slice(0, 8).join(' | ')}`}`))
  }

  #heard(message: WorkerMessage): void {
    if (message.type === 'ready') { this.#ready = true; this.#pump(); return }
    const pending = this.#sent.get(message.id)
    if (pending === undefined) return
    this.#sent.delete(message.id)
    clearTimeout(pending.timer)
    if (message.type === 'answer') pending.resolve(message.value as never)
    else pending.reject(new Failure(message.exitCode, message.message))
    if (this.#hungSinceMs !== null) {
      this.#log.info(`${this.about} answers again after ${Math.round((performance.now() - this.#hungSinceMs) / 1000)} s`)
      this.#hungSinceMs = null
    }
    this.#pump()
  }

  #ended(child: ChildProcess, how: string): void {
    this.#left.delete(child)
    if (child !== this.#child) return
    this.#child = null
    if (this.#closed) return
    this.#log.warn(`the claim worker of ${this.about} ended (${how}); it is started again`)
    this.#abandon('its claim worker ended')
  }

  /** Whatever was asked of it gets no answer any more. */
  #abandon(why: string): void {
    this.#ready = false
    for (const pending of this.#sent.values()) {
      clearTimeout(pending.timer)
      pending.reject(new Failure(EXIT.unreachable, `${this.about} did not answer (${SAID[pending.message.call.method]}): ${why}; check the shared storage`))
    }
    this.#sent.clear()
    if (performance.now() - this.#startedMs > limits.claimWorkerSteadyMs) this.#pauseMs = limits.claimWorkerRestartMinMs
    this.#restart = setTimeout(() => { this.#restart = null; this.#pump() }, this.#pauseMs).unref()
    this.#pauseMs = Math.min(this.#pauseMs * 2, limits.claimWorkerRestartMaxMs)
  }

  // --- what takes too long -----------------------------------------------------------------------------------------------------

  #late(pending: Pending, boundMs: number): void {
    const { call } = pending.message, at = this.#waiting.indexOf(pending)
    if (at >= 0) this.#waiting.splice(at, 1)
    pending.reject(new Failure(EXIT.unreachable, `the claims in ${call.place} did not answer within ${boundMs} ms (${SAID[call.method]}); check the shared storage`))
    const sinceMs = this.#ready ? Math.min(...[...this.#sent.values()].map(({ sentMs }) => sentMs)) : this.#startedMs
    if (this.#child !== null && performance.now() - sinceMs > limits.claimWorkerHungMs) this.#leaveBehind(sinceMs)
  }

  /**
   * Another process may find the datastore mounted anew where this one's calls never return. The number of those that stay is
   * bounded: each is memory and a process. With so many left, the last one goes on, and does what it can when the storage is back.
   */
  #leaveBehind(sinceMs: number): void {
    if (this.#left.size >= limits.claimWorkersLeftMax) return
    const child = this.#child!
    this.#left.add(child)
    this.#child = null
    child.kill('SIGKILL')
    if (this.#hungSinceMs === null) {
      this.#hungSinceMs = sinceMs
      this.#log.warn(`${this.about} has not answered for ${Math.round((performance.now() - sinceMs) / 1000)} s: claims there can be neither read nor renewed, other datastores are not concerned; ` +
        `claim worker ${child.pid} is left behind and another one tries; check the shared storage`)
    }
    this.#abandon('it hangs')
  }

  /** No answer comes any more. What was sent may still be done. */
  close(): void {
    this.#closed = true
    if (this.#restart !== null) clearTimeout(this.#restart)
    for (const pending of [...this.#waiting.splice(0), ...this.#sent.values()]) {
      clearTimeout(pending.timer)
      pending.reject(new Failure(EXIT.unreachable, `${this.about} is not asked any more: this host is stopping`))
    }
    this.#sent.clear()
    if (this.#child?.connected === true) this.#child.disconnect()
  }
}
