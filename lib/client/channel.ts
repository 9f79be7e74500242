/**
 * The front end's end of a vhost-user socket. One message at a time, and every wait has a bound: a back end that says
 * nothing is a Failure that names the socket.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_MESSAGE_FDS, native, type PollHandle } from 'vhost-user-ts-bindings'
import { EXIT, Failure } from '../core/failure.js'
import { FLAG, HEADER_BYTES, MESSAGE_NAMES, PAYLOAD_BYTES_MAX, encodeMessage } from '../vhost/protocol.js'

const EAGAIN = 11
const RETRY_MS = 5

export interface Reply {
  readonly payload: DataView
  /** The caller's to close. */
  readonly fds: number[]
}

interface Waiter {
  readonly request: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Failure) => void
  readonly timer: NodeJS.Timeout
}

const nameOf = (request: number): string => MESSAGE_NAMES.get(request) ?? `message ${request}`

export class Channel {
  readonly path: string
  readonly #fd: number
  readonly #timeoutMs: number
  readonly #lost: (why: Failure) => void
  #poll: PollHandle | null
  readonly #in = new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX)
  readonly #view = new DataView(this.#in.buffer)
  #bytes = 0
  #fds: number[] = []
  readonly #fdCells = new Int32Array(1 + MAX_MESSAGE_FDS)
  #waiter: Waiter | null = null
  #failure: Failure | null = null
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(fd: number, path: string, timeoutMs: number, lost: (why: Failure) => void) {
    this.#fd = fd
    this.path = path
    this.#timeoutMs = timeoutMs
    this.#lost = lost
    this.#poll = native.pollStart(fd, 1, () => this.#read())
  }

  /** `lost` is called when the connection ends by anything but `close`. */
  static async open(path: string, timeoutMs: number, lost: (why: Failure) => void): Promise<Channel> {
    for (const end = performance.now() + timeoutMs; ;) {
      try {
        return new Channel(native.connectUnix(path), path, timeoutMs, lost)
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        // The backlog of a back end that is not accepting yet is full.
        if (code === 'EAGAIN' && performance.now() < end) { await sleep(RETRY_MS); continue }
        const why = code === 'ENOENT' ? 'there is no such socket' : code === 'ECONNREFUSED' ? 'nobody listens there' : message
        throw new Failure(EXIT.unreachable, `cannot connect to ${path}: ${why}; is the back end running?`, { cause: error })
      }
    }
  }

  get closed(): boolean { return this.#failure !== null }

  /** Sends a message that has no reply. */
  send(request: number, payload: Uint8Array, fds: readonly number[] = []): Promise<void> {
    return this.#inTurn(() => this.#send(request, FLAG.version, payload, fds))
  }

  /** Sends a message that is replied to. */
  call(request: number, payload: Uint8Array, fds: readonly number[] = [], flags = 0): Promise<Reply> {
    return this.#inTurn(async () => {
      if (this.#failure !== null) throw this.#failure
      const reply = new Promise<Reply>((resolve, reject) => {
        const timer = setTimeout(() => this.#fail(`did not answer ${nameOf(request)} within ${this.#timeoutMs} ms`), this.#timeoutMs)
        this.#waiter = { request, resolve, reject, timer }
      })
      reply.catch(() => { /* the caller sees it below, or what the send threw */ })
      await this.#send(request, FLAG.version | flags, payload, fds)
      return reply
    })
  }

  /** Sends a message with REPLY_ACK negotiated; a Failure when the back end refuses it. */
  async acknowledge(request: number, payload: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const { payload: answer } = await this.call(request, payload, fds, FLAG.needReply)
    if (answer.byteLength === 8 && answer.getBigUint64(0, true) === 0n) return
    throw new Failure(EXIT.unreachable, `the back end at ${this.path} refused ${nameOf(request)}`)
  }

  async callU64(request: number, payload: Uint8Array): Promise<bigint> {
    const { payload: answer } = await this.call(request, payload)
    if (answer.byteLength === 8) return answer.getBigUint64(0, true)
    throw new Failure(EXIT.unreachable, `the back end at ${this.path} answered ${nameOf(request)} with ${answer.byteLength} bytes`)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => { /* the next message fails by itself */ })
    return result
  }

  async #send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): Promise<void> {
    const bytes = encodeMessage(request, flags, payload)
    const end = performance.now() + this.#timeoutMs
    for (let done = 0; done < bytes.length;) {
      if (this.#failure !== null) throw this.#failure
      const passed = done === 0 ? fds : []
      const sent = native.sendMessage(this.#fd, bytes, done, bytes.length - done, Int32Array.from(passed), passed.length)
      if (sent > 0) done += sent
      else if (sent !== -EAGAIN) this.#fail(`took no ${nameOf(request)} (errno ${-sent})`)
      else if (performance.now() > end) this.#fail(`took no ${nameOf(request)} within ${this.#timeoutMs} ms`)
      else await sleep(RETRY_MS)
    }
  }

  #read(): void {
    while (this.#failure === null) {
      const size = this.#bytes < HEADER_BYTES ? 0 : this.#view.getUint32(8, true)
      if (size > PAYLOAD_BYTES_MAX) { this.#fail(`sent a message of ${size} bytes`); return }
      if (this.#bytes >= HEADER_BYTES && this.#bytes === HEADER_BYTES + size) { this.#complete(size); continue }
      const wanted = this.#bytes < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + size
      const got = native.recvMessage(this.#fd, this.#in, this.#bytes, wanted - this.#bytes, this.#fdCells)
      if (got === -EAGAIN) return
      for (let i = 0; i < this.#fdCells[0]!; i++) this.#fds.push(this.#fdCells[1 + i]!)
      if (got <= 0) { this.#fail(got === 0 ? 'closed the connection' : `could not be read from (errno ${-got})`); return }
      this.#bytes += got
    }
  }

  #complete(size: number): void {
    const request = this.#view.getUint32(0, true), flags = this.#view.getUint32(4, true), waiter = this.#waiter
    if (waiter === null || waiter.request !== request || flags !== (FLAG.version | FLAG.reply)) {
      this.#fail(`sent ${nameOf(request)} with flags ${flags} where ${waiter === null ? 'nothing' : nameOf(waiter.request)} was due`)
      return
    }
    const fds = this.#fds
    this.#fds = []
    this.#bytes = 0
    this.#waiter = null
    clearTimeout(waiter.timer)
    waiter.resolve({ payload: new DataView(this.#in.slice(HEADER_BYTES, HEADER_BYTES + size).buffer), fds })
  }

  #fail(what: string): void {
    if (this.#end(new Failure(EXIT.unreachable, `the back end at ${this.path} ${what}`))) this.#lost(this.#failure!)
  }

  /** False when it had ended before. */
  #end(failure: Failure): boolean {
    if (this.#failure !== null) return false
    this.#failure = failure
    if (this.#poll !== null) native.pollStop(this.#poll)
    this.#poll = null
    for (const fd of this.#fds) native.closeFd(fd)
    native.closeFd(this.#fd)
    if (this.#waiter !== null) {
      clearTimeout(this.#waiter.timer)
      this.#waiter.reject(failure)
      this.#waiter = null
    }
    return true
  }

  /** Drops the connection as a crash would. */
  close(): void { this.#end(new Failure(EXIT.unreachable, `the connection to ${this.path} was closed here`)) }
}
