/**
 * The connections of this host: it dials every peer and is dialed by every peer. Mutual TLS; a peer is who its
 * certificate says, and its hello must say the same.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type {
  AcceptedPeer, Acknowledgement, Answer, DialedPeer, Hello, Message, PeerHandler, PeerNetwork, Push, RawAnswer, Request,
} from '../ports/peer.js'
import { Channel } from './channel.js'

export interface TlsFiles { readonly certificate: Buffer; readonly key: Buffer; readonly ca: Buffer }

export interface NetworkOptions {
  readonly host: string
  readonly incarnation: string
  readonly listen: { readonly address: string; readonly port: number } | null
  readonly peers: readonly { readonly host: string; readonly address: string; readonly port: number }[]
  /** Null: plain, which the configuration allows only on loopback or when it says `insecure`. */
  readonly tls: TlsFiles | null
  readonly info: (message: string) => void
  readonly warn: (message: string) => void
}

const PROTOCOL = 1
const NONE = new Uint8Array(0)
const wsOptions = { perMessageDeflate: false, maxPayload: limits.frameBytesMax, skipUTF8Validation: true } as const

/** DNS names in a certificate's subjectAltName. */
const namesIn = (certificate: PeerCertificate): string[] =>
  (certificate.subjectaltname ?? '').split(', ').filter((n) => n.startsWith('DNS:')).map((n) => n.slice(4))

export class WsPeerNetwork implements PeerNetwork {
  readonly dialed = new Map<string, Dialed>()
  readonly accepted = new Map<string, Accepted>()
  readonly #options: NetworkOptions
  readonly #hello: Hello
  #handler: PeerHandler | null = null
  #server: Server | null = null
  /** Every connection to the server, also those that have not said who they are yet. */
  readonly #incoming = new Set<Socket>()

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#hello = { type: 'hello', protocol: PROTOCOL, host: options.host, incarnation: options.incarnation }
    for (const peer of options.peers) this.accepted.set(peer.host, new Accepted(peer.host))
  }

  /** Port that was bound; useful with port 0. */
  get port(): number { return (this.#server?.address() as AddressInfo | null)?.port ?? 0 }

  async start(handler: PeerHandler): Promise<void> {
    this.#handler = handler
    if (this.#options.listen !== null) await this.#listen(this.#options.listen.address, this.#options.listen.port)
    for (const peer of this.#options.peers) {
      const dialed = new Dialed(peer, this.#options, this.#hello, handler)
      this.dialed.set(peer.host, dialed)
      dialed.dial()
    }
  }

  async #listen(address: string, port: number): Promise<void> {
    const { tls } = this.#options
    // Node looks for late requests every 30 s unless told otherwise.
    const checks = { headersTimeout: limits.handshakeTimeoutMs, connectionsCheckingInterval: limits.handshakeTimeoutMs / 5 }
    const server = tls === null ? createHttpServer(checks)
      : createHttpsServer({
        ...checks, cert: tls.certificate, key: tls.key, ca: tls.ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3',
        handshakeTimeout: limits.handshakeTimeoutMs,
      })
    server.maxConnections = limits.peersMax * 4
    server.on('connection', (socket: Socket) => {
      this.#incoming.add(socket)
      socket.once('close', () => this.#incoming.delete(socket))
    })
    server.on('request', (_request, response) => { response.writeHead(426).end() })
    server.on('tlsClientError', (error: Error, socket: Socket) => this.#options.warn(`refused ${socket.remoteAddress ?? 'a connection'}: ${error.message}`))
    const sockets = new WebSocketServer({ noServer: true, ...wsOptions })
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const names = tls === null ? null : namesIn((socket as TLSSocket).getPeerCertificate())
      sockets.handleUpgrade(request, socket, head, (ws) => {
        socket.setNoDelay(true)
        this.#accept(ws, names, socket.remoteAddress ?? '?')
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(new Failure(EXIT.config, `cannot listen on ${address}:${port}: ${error.message}; choose another address in replication.listen`, { cause: error })))
      server.listen(port, address, resolve)
    })
    this.#server = server
  }

  #accept(ws: WebSocket, names: readonly string[] | null, from: string): void {
    let peer: Accepted | null = null
    const refuse = (why: string): boolean => { this.#options.warn(`refused a connection from ${from}: ${why}`); return false }
    const channel: Channel = new Channel(ws, this.#hello, {
      hello: (hello) => {
        if (hello.protocol !== PROTOCOL) return refuse(`it speaks protocol ${hello.protocol}, this release ${PROTOCOL}`)
        if (names !== null && !names.includes(hello.host)) return refuse(`it calls itself ${hello.host}, its certificate says ${names.join(', ') || 'nothing'}`)
        const known = this.accepted.get(hello.host)
        if (known === undefined) return refuse(`${hello.host} is not among the configured peers`)
        peer = known
        known.attach(channel, hello.incarnation)
        this.#handler!.acceptedChanged(known)
        return true
      },
      message: (id, message, raw) => this.#fromAccepted(peer!, channel, id, message, raw),
      closed: (reason) => {
        if (peer === null || !peer.detach(channel)) return
        this.#options.info(`${peer.host} is not connected to us any more: ${reason}`)
        this.#handler!.acceptedChanged(peer)
      },
    })
  }

  #fromAccepted(peer: Accepted, channel: Channel, id: number, message: Message, raw: Uint8Array): void {
    void raw
    switch (message.type) {
      case 'ack': case 'flushed': case 'refused': case 'trimmed':
        this.#handler!.onAcknowledgement(peer, message)
        break
      case 'seal': case 'read': case 'map': case 'scrub':
        this.#handler!.onRequest(peer, message, (answer, parts) => { channel.send(id, answer, parts) })
        break
      default: channel.close(`protocol error: ${message.type} on this connection`)
    }
  }

  async stop(): Promise<void> {
    for (const dialed of this.dialed.values()) dialed.stop()
    for (const accepted of this.accepted.values()) accepted.close()
    const server = this.#server
    if (server !== null) {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of this.#incoming) socket.destroy()
      await closed
    }
  }
}

class Accepted implements AcceptedPeer {
  readonly host: string
  incarnation: string | null = null
  #channel: Channel | null = null

  constructor(host: string) { this.host = host }

  /** A second connection of the same host replaces the first: the host knows better which one is alive. */
  attach(channel: Channel, incarnation: string): void {
    const old = this.#channel
    this.#channel = channel
    this.incarnation = incarnation
    old?.close('replaced by a newer connection')
  }

  detach(channel: Channel): boolean {
    if (this.#channel !== channel) return false
    this.#channel = null
    this.incarnation = null
    return true
  }

  push(message: Push, raw?: Uint8Array): boolean {
    return this.#channel?.send(0, message, raw === undefined ? undefined : [raw]) ?? false
  }

  close(): void { this.#channel?.close('this host stops') }
}

interface Waiter { readonly resolve: (answer: RawAnswer) => void; readonly reject: (error: Error) => void; readonly timer: NodeJS.Timeout }

class Dialed implements DialedPeer {
  readonly host: string
  incarnation: string | null = null
  readonly #url: string
  readonly #options: NetworkOptions
  readonly #hello: Hello
  readonly #handler: PeerHandler
  readonly #waiters = new Map<number, Waiter>()
  #channel: Channel | null = null
  /** Of the connection that is up or being made. */
  #socket: WebSocket | null = null
  #nextId = 1
  #connectedAtMs = 0
  #retryMs: number = limits.dialRetryMinMs
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  #complained = ''

  constructor(peer: NetworkOptions['peers'][number], options: NetworkOptions, hello: Hello, handler: PeerHandler) {
    this.host = peer.host
    const address = peer.address.includes(':') ? `[${peer.address}]` : peer.address
    this.#url = `${options.tls === null ? 'ws' : 'wss'}://${address}:${peer.port}/`
    this.#options = options
    this.#hello = hello
    this.#handler = handler
  }

  dial(): void {
    if (this.#stopped) return
    const { tls } = this.#options
    // Who answers matters, not at which address: the certificate must name the host we mean. (The typings of ws
    // declare another result than tls.connect, which gets these options, asks for.)
    const identity: object = {
      checkServerIdentity: (_name: string, certificate: PeerCertificate) => namesIn(certificate).includes(this.host) ? undefined
        : new Error(`the certificate there names ${namesIn(certificate).join(', ') || 'nobody'} instead of ${this.host}`),
    }
    const ws = new WebSocket(this.#url, {
      ...wsOptions, handshakeTimeout: limits.handshakeTimeoutMs, followRedirects: false,
      ...(tls === null ? {} : { cert: tls.certificate, key: tls.key, ca: tls.ca, minVersion: 'TLSv1.3' as const, ...identity }),
    })
    this.#socket = ws
    let opened = false
    ws.once('open', () => {
      opened = true
      this.#opened(ws)
    })
    ws.on('error', (error: Error) => { if (!opened && !this.#stopped) this.#complain(`${this.host} cannot be reached at ${this.#url}: ${error.message}`) })
    ws.once('close', () => { if (!opened) this.#again() })
  }

  /** The same complaint once, not at every retry. */
  #complain(text: string): void {
    if (text !== this.#complained) this.#options.warn(text)
    this.#complained = text
  }

  #opened(ws: WebSocket): void {
    const channel: Channel = new Channel(ws, this.#hello, {
      hello: (hello) => {
        if (hello.protocol !== PROTOCOL || hello.host !== this.host) {
          this.#complain(`${this.#url} is ${hello.host} with protocol ${hello.protocol}, expected ${this.host} with ${PROTOCOL}`)
          return false
        }
        this.incarnation = hello.incarnation
        this.#channel = channel
        this.#connectedAtMs = performance.now()
        this.#complained = ''
        this.#options.info(`connected to ${this.host}`)
        this.#handler.dialedChanged(this)
        return true
      },
      message: (id, message, raw) => this.#receive(channel, id, message, raw),
      closed: (reason) => this.#closed(channel, reason),
    })
  }

  #closed(channel: Channel, reason: string): void {
    if (this.#channel === channel) {
      this.#channel = null
      this.incarnation = null
      // One that refuses us says hello before it does: the pause grows until a connection has lasted.
      if (performance.now() - this.#connectedAtMs >= limits.dialRetryMaxMs) this.#retryMs = limits.dialRetryMinMs
      this.#options.info(`lost ${this.host}: ${reason}`)
      for (const waiter of this.#waiters.values()) {
        clearTimeout(waiter.timer)
        waiter.reject(new Failure(EXIT.unreachable, `the connection to ${this.host} broke`))
      }
      this.#waiters.clear()
      this.#handler.dialedChanged(this)
    }
    this.#again()
  }

  #again(): void {
    if (this.#stopped) return
    const waitMs = this.#retryMs * (0.5 + Math.random() / 2)
    this.#retryMs = Math.min(this.#retryMs * 2, limits.dialRetryMaxMs)
    this.#timer = setTimeout(() => this.dial(), waitMs)
  }

  #receive(channel: Channel, id: number, message: Message, raw: Uint8Array): void {
    switch (message.type) {
      case 'open': case 'append': case 'flush': case 'trim': case 'claimChanged':
        this.#handler.onPush(this, message, raw)
        break
      case 'sealed': case 'sealRefused': case 'data': case 'readTrimmed': case 'extents': case 'scrubbed': case 'problem':
        this.#answer(id, message, raw)
        break
      default: channel.close(`protocol error: ${message.type} on this connection`)
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
      if (this.#channel === null) { unreachable(`${this.host} is not connected`); return }
      if (this.#waiters.size >= limits.requestsInFlightMax) { unreachable(`${this.host} owes ${this.#waiters.size} answers already`); return }
      const id = this.#nextId++
      const timer = setTimeout(() => {
        this.#waiters.delete(id)
        unreachable(`${this.host} did not answer ${message.type} within ${timeoutMs} ms`)
      }, timeoutMs)
      this.#waiters.set(id, { resolve, reject, timer })
      this.#channel.send(id, message)
    })
  }

  acknowledge(message: Acknowledgement): void { this.#channel?.send(0, message) }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#channel?.close('this host stops')
    this.#socket?.terminate()
  }
}
