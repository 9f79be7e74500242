/** Both directions of a connected peer, whatever carries the frames: who it is, which message goes where, which requests wait. */
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type {
  AcceptedPeer, Acknowledgement, Answer, DialedPeer, Hello, Message, PeerHandler, Push, RawAnswer, Request,
} from '../ports/peer.js'

/** One connection after its handshake. */
export interface Link {
  /** False when it is gone. */
  send(id: number, message: Message, raw?: readonly Uint8Array[]): boolean
  close(reason: string): void
}

const STOPS = 'this host stops'
const NONE = new Uint8Array(0)

/** The peer dialed us. */
export class Accepted<L extends Link> implements AcceptedPeer {
  readonly host: string
  incarnation: string | null = null
  #link: L | null = null

  constructor(host: string) { this.host = host }

  /** A second connection of the same host replaces the first: the host knows better which one is alive. */
  attach(link: L, { incarnation }: Hello): void {
    const old = this.#link
    this.#link = link
    this.incarnation = incarnation
    old?.close('replaced by a newer connection')
  }

  detach(link: L): boolean {
    if (this.#link !== link) return false
    this.#link = null
    this.incarnation = null
    return true
  }

  push(message: Push, raw?: Uint8Array): boolean { return this.#link?.send(0, message, raw === undefined ? undefined : [raw]) ?? false }

  /** False for a message that has no business on such a connection. */
  receive(handler: PeerHandler, link: L, id: number, message: Message): boolean {
    switch (message.type) {
      case 'ack': case 'flushed': case 'refused': case 'trimmed': case 'copied': case 'leaving': handler.onAcknowledgement(this, message); return true
      case 'seal': case 'read': case 'map': case 'scrub': case 'records': handler.onRequest(this, message, (answer, parts) => { link.send(id, answer, parts) }); return true
      default: return false
    }
  }

  close(reason = STOPS): void { this.#link?.close(reason) }
}

interface Waiter { readonly resolve: (answer: RawAnswer) => void; readonly reject: (error: Error) => void; readonly timer: NodeJS.Timeout }

/** We dialed. How, and when again, is for the network. */
export class Dialed<L extends Link> implements DialedPeer {
  readonly host: string
  incarnation: string | null = null
  powerLosses = 0
  readonly #handler: PeerHandler
  readonly #waiters = new Map<number, Waiter>()
  #link: L | null = null
  #nextId = 1

  constructor(host: string, handler: PeerHandler) {
    this.host = host
    this.#handler = handler
  }

  protected connected(link: L, { incarnation, powerLosses }: Hello): void {
    this.incarnation = incarnation
    this.powerLosses = powerLosses ?? 0
    this.#link = link
    this.#handler.dialedChanged(this)
  }

  /** False for a connection that is not the present one. */
  protected disconnected(link: L): boolean {
    if (this.#link !== link) return false
    this.#link = null
    this.incarnation = null
    for (const waiter of this.#waiters.values()) {
      clearTimeout(waiter.timer)
      waiter.reject(new Failure(EXIT.unreachable, `the connection to ${this.host} broke`))
    }
    this.#waiters.clear()
    this.#handler.dialedChanged(this)
    return true
  }

  /** False for a message that has no business on such a connection. */
  protected receive(id: number, message: Message, raw: Uint8Array): boolean {
    switch (message.type) {
      case 'open': case 'append': case 'flush': case 'trim': case 'claimChanged': this.#handler.onPush(this, message, raw); return true
      case 'sealed': case 'sealRefused': case 'data': case 'readTrimmed': case 'extents': case 'scrubbed': case 'recordRun': case 'problem': this.#answer(id, message, raw); return true
      default: return false
    }
  }

  /** An answer to a request that has timed out is not wanted any more. */
  #answer(id: number, message: Answer, raw: Uint8Array): void {
    const waiter = this.#waiters.get(id)
    if (waiter === undefined) return
    this.#waiters.delete(id)
    clearTimeout(waiter.timer)
    waiter.resolve({ message, raw: raw.length === 0 ? NONE : raw })
  }

  request(message: Request, timeoutMs: number): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const unreachable = (why: string): void => reject(new Failure(EXIT.unreachable, why))
      if (this.#link === null) { unreachable(`${this.host} is not connected`); return }
      if (this.#waiters.size >= limits.requestsInFlightMax) { unreachable(`${this.host} owes ${this.#waiters.size} answers already`); return }
      const id = this.#nextId++
      const timer = setTimeout(() => {
        this.#waiters.delete(id)
        unreachable(`${this.host} did not answer ${message.type} within ${timeoutMs} ms`)
      }, timeoutMs)
      this.#waiters.set(id, { resolve, reject, timer })
      this.#link.send(id, message)
    })
  }

  acknowledge(message: Acknowledgement): void { this.#link?.send(0, message) }

  stop(reason = STOPS): void { this.#link?.close(reason) }
}
