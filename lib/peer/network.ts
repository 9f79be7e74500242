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
import type { Hello, PeerHandler, PeerNetwork } from '../ports/peer.js'
import { Channel } from './channel.js'
import { Accepted, Dialed } from './connections.js'

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
const wsOptions = { perMessageDeflate: false, maxPayload: limits.frameBytesMax, skipUTF8Validation: true } as const

/** DNS names in a certificate's subjectAltName. */
const namesIn = (certificate: PeerCertificate): string[] =>
  (certificate.subjectaltname ?? '').split(', ').filter((n) => n.startsWith('DNS:')).map((n) => n.slice(4))

export class WsPeerNetwork implements PeerNetwork {
  readonly dialed = new Map<string, DialedHost>()
  readonly accepted = new Map<string, Accepted<Channel>>()
  readonly #options: NetworkOptions
  readonly #hello: Hello
  #handler: PeerHandler | null = null
  #server: Server | null = null
  /** Every connection to the server, also those that have not said who they are yet. */
  readonly #incoming = new Set<Socket>()

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#hello = { type: 'hello', protocol: PROTOCOL, host: options.host, incarnation: options.incarnation }
    for (const peer of options.peers) this.accepted.set(peer.host, new Accepted<Channel>(peer.host))
  }

  /** Port that was bound; useful with port 0. */
  get port(): number { return (this.#server?.address() as AddressInfo | null)?.port ?? 0 }

  async start(handler: PeerHandler): Promise<void> {
    this.#handler = handler
    if (this.#options.listen !== null) await this.#listen(this.#options.listen.address, this.#options.listen.port)
    for (const peer of this.#options.peers) {
      const dialed = new DialedHost(peer, this.#options, this.#hello, handler)
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
    let peer: Accepted<Channel> | null = null
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
      message: (id, message) => { if (!peer!.receive(this.#handler!, channel, id, message)) channel.close(`protocol error: ${message.type} on this connection`) },
      closed: (reason) => {
        if (peer === null || !peer.detach(channel)) return
        this.#options.info(`${peer.host} is not connected to us any more: ${reason}`)
        this.#handler!.acceptedChanged(peer)
      },
    })
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

class DialedHost extends Dialed<Channel> {
  readonly #url: string
  readonly #options: NetworkOptions
  readonly #hello: Hello
  /** Of the connection that is up or being made. */
  #socket: WebSocket | null = null
  #connectedAtMs = 0
  #retryMs: number = limits.dialRetryMinMs
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  #complained = ''

  constructor(peer: NetworkOptions['peers'][number], options: NetworkOptions, hello: Hello, handler: PeerHandler) {
    super(peer.host, handler)
    const address = peer.address.includes(':') ? `[${peer.address}]` : peer.address
    this.#url = `${options.tls === null ? 'ws' : 'wss'}://${address}:${peer.port}/`
    this.#options = options
    this.#hello = hello
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
        this.#connectedAtMs = performance.now()
        this.#complained = ''
        this.#options.info(`connected to ${this.host}`)
        this.connected(channel, hello.incarnation)
        return true
      },
      message: (id, message, raw) => { if (!this.receive(id, message, raw)) channel.close(`protocol error: ${message.type} on this connection`) },
      closed: (reason) => this.#closed(channel, reason),
    })
  }

  #closed(channel: Channel, reason: string): void {
    if (this.disconnected(channel)) {
      // One that refuses us says hello before it does: the pause grows until a connection has lasted.
      if (performance.now() - this.#connectedAtMs >= limits.dialRetryMaxMs) this.#retryMs = limits.dialRetryMinMs
      this.#options.info(`lost ${this.host}: ${reason}`)
    }
    this.#again()
  }

  #again(): void {
    if (this.#stopped) return
    const waitMs = this.#retryMs * (0.5 + Math.random() / 2)
    this.#retryMs = Math.min(this.#retryMs * 2, limits.dialRetryMaxMs)
    this.#timer = setTimeout(() => this.dial(), waitMs)
  }

  override stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    super.stop()
    this.#socket?.terminate()
  }
}
