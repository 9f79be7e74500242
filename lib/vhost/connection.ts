/**
 * One vhost-user connection: messages with their descriptors in, replies out. Descriptors that nobody takes are
 * closed. A protocol error ends the connection and says why.
 */
import { MAX_MESSAGE_FDS, native, type PollHandle } from 'vhost-user-ts-bindings'
import { FLAG, HEADER_BYTES, PAYLOAD_BYTES_MAX, encodeMessage } from './protocol.js'

const EAGAIN = 11

export interface Incoming {
  readonly request: number
  readonly needReply: boolean
  /** On the payload's bytes; valid during the call. */
  readonly payload: DataView
  /** The receiver owns what it takes out of here; the rest is closed after the call. */
  readonly fds: number[]
}

export interface ConnectionEvents {
  /** Throws ProtocolError to end the connection. */
  message(message: Incoming): void
  closed(reason: string): void
}

export class ProtocolError extends Error {}

/** A descriptor may be anything, so any call with one may fail: that is the front end's error, and only its session's. */
const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'

export class VhostConnection {
  readonly #fd: number
  readonly #events: ConnectionEvents
  #poll: PollHandle | null
  readonly #header = new Uint8Array(HEADER_BYTES)
  readonly #headerView = new DataView(this.#header.buffer)
  readonly #payload = new Uint8Array(PAYLOAD_BYTES_MAX)
  #headerBytes = 0
  #payloadBytes = 0
  #fds: number[] = []
  readonly #fdCells = new Int32Array(1 + MAX_MESSAGE_FDS)
  #paused = false
  #closed = false
  #out: { bytes: Uint8Array; fds: number[] }[] = []

  constructor(fd: number, events: ConnectionEvents) {
    this.#fd = fd
    this.#events = events
    native.setNonBlocking(fd)
    this.#poll = native.pollStart(fd, 1, () => this.#read())
  }

  get closed(): boolean { return this.#closed }

  /** No message is read until `resume`: a drain answers before anything that comes after it. */
  pause(): void {
    this.#paused = true
    if (this.#poll !== null) native.pollStop(this.#poll)
    this.#poll = null
  }

  resume(): void {
    if (this.#closed || !this.#paused) return
    this.#paused = false
    this.#watch()
    this.#read()
  }

  #watch(): void {
    if (this.#poll !== null) native.pollStop(this.#poll)
    // While answers wait to be sent nothing is read: a front end that does not take them gets no more of them.
    this.#poll = native.pollStart(this.#fd, this.#out.length > 0 ? 2 : 1, () => this.#ready())
  }

  #ready(): void {
    if (this.#out.length > 0) {
      this.#flush()
      if (this.#out.length > 0 || this.#closed) return
      this.#watch()
    }
    this.#read()
  }

  #read(): void {
    while (!this.#closed && !this.#paused && this.#out.length === 0) {
      const inHeader = this.#headerBytes < HEADER_BYTES
      const size = inHeader ? 0 : this.#headerView.getUint32(8, true)
      const got = inHeader
        ? native.recvMessage(this.#fd, this.#header, this.#headerBytes, HEADER_BYTES - this.#headerBytes, this.#fdCells)
        : native.recvMessage(this.#fd, this.#payload, this.#payloadBytes, size - this.#payloadBytes, this.#fdCells)
      for (let i = 0; i < this.#fdCells[0]!; i++) this.#fds.push(this.#fdCells[1 + i]!)
      if (got === -EAGAIN) return
      // Each byte of a message could bring as many again.
      if (this.#fds.length > MAX_MESSAGE_FDS) { this.close(`a message with more than ${MAX_MESSAGE_FDS} descriptors`); return }
      if (got <= 0) { this.close(got === 0 ? 'the front end closed the connection' : `receive failed with errno ${-got}`); return }
      if (inHeader) this.#headerBytes += got
      else this.#payloadBytes += got
      if (this.#headerBytes === HEADER_BYTES) this.#complete()
    }
  }

  #complete(): void {
    const size = this.#headerView.getUint32(8, true), flags = this.#headerView.getUint32(4, true)
    if ((flags & 3) !== FLAG.version) { this.close(`protocol version ${flags & 3} in a message`); return }
    if (size > PAYLOAD_BYTES_MAX) { this.close(`a message of ${size} bytes`); return }
    if (this.#payloadBytes < size) return
    const fds = this.#fds
    this.#fds = []
    this.#headerBytes = 0
    this.#payloadBytes = 0
    try {
      this.#events.message({
        request: this.#headerView.getUint32(0, true), needReply: (flags & FLAG.needReply) !== 0, payload: new DataView(this.#payload.buffer, 0, size), fds,
      })
    } catch (error) {
      if (!(error instanceof ProtocolError) && !isSystemError(error)) throw error
      this.close(error.message)
    } finally {
      for (const fd of fds) native.closeFd(fd)
    }
  }

  /** QEMU wants the flags of a reply to be exactly version and reply. Descriptors stay the caller's. */
  reply(request: number, payload: Uint8Array, fds: readonly number[] = []): void { this.#send(request, FLAG.version + FLAG.reply, payload, fds) }

  #send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): void {
    if (this.#closed) return
    this.#out.push({ bytes: encodeMessage(request, flags, payload), fds: fds.map((fd) => native.dupFd(fd)) })
    this.#flush()
    if (this.#out.length > 0 && !this.#paused && !this.#closed) this.#watch()
  }

  #flush(): void {
    while (this.#out.length > 0 && !this.#closed) {
      const { bytes, fds } = this.#out[0]!
      const sent = native.sendMessage(this.#fd, bytes, 0, bytes.length, Int32Array.from(fds), fds.length)
      if (sent === -EAGAIN) return
      for (const fd of fds) native.closeFd(fd)
      if (sent < 0) { this.#out.shift(); this.close(`send failed with errno ${-sent}`); return }
      if (sent < bytes.length) this.#out[0] = { bytes: bytes.subarray(sent), fds: [] }
      else this.#out.shift()
    }
  }

  close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#poll !== null) native.pollStop(this.#poll)
    this.#poll = null
    for (const fd of this.#fds) native.closeFd(fd)
    for (const { fds } of this.#out) for (const fd of fds) native.closeFd(fd)
    native.closeFd(this.#fd)
    this.#events.closed(reason)
  }
}
