/** One WebSocket between two hosts after its handshake: hello first, then frames; dead when silent for too long (H38). */
import type { WebSocket } from 'ws'
import { limits } from '../limits.js'
import type { Hello, Message } from '../ports/peer.js'
import { decodeFrame, encodeFrame } from './frame.js'

export interface ChannelEvents {
  /** The peer has said who it is; false refuses it, with the reason already logged. */
  hello(hello: Hello): boolean
  message(id: number, message: Message, raw: Uint8Array): void
  /** Once, after which nothing else is called. `reason` is for people. */
  closed(reason: string): void
}

export class Channel {
  readonly #socket: WebSocket
  readonly #events: ChannelEvents
  readonly #idle: NodeJS.Timeout
  #greeted = false
  #heard = true
  #reason: string | null = null
  #done = false

  constructor(socket: WebSocket, hello: Hello, events: ChannelEvents) {
    this.#socket = socket
    this.#events = events
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary))
    socket.on('pong', () => { this.#heard = true })
    socket.on('ping', () => { this.#heard = true })
    socket.on('error', (error: Error) => { this.#reason ??= error.message })
    socket.on('close', (code: number, text: Buffer) => this.#end(this.#reason ?? (text.toString() || `closed with code ${code}`)))
    this.#idle = setInterval(() => this.#checkIdle(), limits.peerIdleMs / 2)
    this.send(0, hello)
  }

  #checkIdle(): void {
    if (!this.#heard) { this.close(`silent for ${limits.peerIdleMs} ms`); return }
    this.#heard = false
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
  }

  get open(): boolean { return !this.#done && this.#socket.readyState === this.#socket.OPEN }

  /** False when the connection is gone. A peer that does not read is dropped before its backlog grows without bound. */
  send(id: number, message: Message, raw?: readonly Uint8Array[]): boolean {
    if (!this.open) return false
    if (this.#socket.bufferedAmount > limits.peerWindowBytes) { this.close('it does not read what it is sent'); return false }
    this.#socket.send(encodeFrame(id, message, raw))
    return true
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#done) return
    this.#heard = true
    const frame = isBinary ? decodeFrame(data) : 'a text message'
    if (typeof frame === 'string') { this.close(`protocol error: ${frame}`); return }
    try {
      if (!this.#greeted) {
        if (frame.message.type !== 'hello') { this.close('protocol error: no hello'); return }
        if (!this.#events.hello(frame.message)) { this.close('refused'); return }
        this.#greeted = true
      } else {
        this.#events.message(frame.id, frame.message, frame.raw)
      }
    } catch (error) {
      this.close(`a message could not be handled: ${(error as Error).stack ?? String(error)}`)
    }
  }

  close(reason: string): void {
    this.#reason ??= reason
    this.#socket.terminate()
    // 'close' comes later; nothing more of this connection counts from here on.
    setImmediate(() => this.#end(reason))
  }

  #end(reason: string): void {
    if (this.#done) return
    this.#done = true
    clearInterval(this.#idle)
    this.#events.closed(reason)
  }
}
