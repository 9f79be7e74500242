/**
 * The connections of this host: it dials every peer and is dialed by every peer. Mutual TLS; a peer is who its
 * certificate says, and its hello must say the same.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type { Hello, PeerHandler, PeerNetwork } from '../ports/peer.js'
import { namesIn, tlsProblem } from './certificate.js'
import { Channel } from './channel.js'
import { Accepted, Dialed } from './connections.js'

export interface TlsFiles { readonly certificate: Buffer; readonly key: Buffer; readonly ca: Buffer }

export interface PeerAddress { readonly host: string; readonly address: string; readonly port: number }

export interface NetworkOptions {
  readonly host: string
  readonly incarnation: string
  readonly powerLosses?: number
  readonly listen: { readonly address: string; readonly port: number } | null
  readonly peers: readonly PeerAddress[]
  /** Null: plain, which the configuration allows only on loopback or when it says `insecure`. */
  readonly tls: TlsFiles | null
  /** Generation of the record of members that this host follows, 0 for none; and what to do when a peer knows a newer one. */
  readonly members?: { generation(): number; newer(generation: number): void }
  readonly info: (message: string) => void
  readonly warn: (message: string) => void
}

/** Certificates may be others later. */
type CurrentOptions = Omit<NetworkOptions, 'tls'> & { tls: TlsFiles | null }

const PROTOCOL = 1
/** HTTP status for a host that was revoked. */
const REVOKED = 403
const wsOptions = { perMessageDeflate: false, maxPayload: limits.frameBytesMax, skipUTF8Validation: true } as const

export class WsPeerNetwork implements PeerNetwork {
  readonly dialed = new Map<string, DialedHost>()
  readonly accepted = new Map<string, Accepted<Channel>>()
  readonly #options: CurrentOptions
  #peers: readonly PeerAddress[]
  #revoked = new Set<string>()
  /** Hosts whose refusal was said, which they ask for again and again. */
  readonly #refused = new Set<string>()
  /** When which refusal was said. */
  readonly #refusals = new Map<string, number>()
  #handler: PeerHandler | null = null
  #server: Server | null = null
  /** Every connection to the server, also those that have not said who they are yet. */
  readonly #incoming = new Set<Socket>()

  constructor(options: NetworkOptions) {
    this.#options = { ...options }
    this.#peers = options.peers
    for (const peer of options.peers) this.accepted.set(peer.host, new Accepted<Channel>(peer.host))
  }

  /** Port that was bound; useful with port 0. */
  get port(): number { return (this.#server?.address() as AddressInfo | null)?.port ?? 0 }

  async start(handler: PeerHandler): Promise<void> {
    this.#handler = handler
    if (this.#options.listen !== null) await this.#listen(this.#options.listen.address, this.#options.listen.port)
    for (const peer of this.#peers) this.#dial(peer, handler)
  }

  #dial(peer: PeerAddress, handler: PeerHandler): void {
    const dialed = new DialedHost(peer, this.#options, handler)
    this.dialed.set(peer.host, dialed)
    dialed.dial()
  }

  /** These are the peers from here on, and nobody else: who is not among them is cut off. `revoked`: hosts that are told why. */
  follow(peers: readonly PeerAddress[], revoked: readonly string[]): void {
    this.#peers = peers
    this.#revoked = new Set(revoked)
    for (const host of this.#refused) if (!this.#revoked.has(host)) this.#refused.delete(host)
    const why = (host: string): string => this.#revoked.has(host) ? `${host} was revoked` : `${host} is no peer any more`
    // Out of the maps first: nobody sends there any more, and who comes meanwhile is refused.
    for (const [host, dialed] of this.dialed) {
      const now = peers.find((peer) => peer.host === host)
      if (now !== undefined && urlOf(now, this.#options) === dialed.url) continue
      this.dialed.delete(host)
      dialed.stop(now === undefined ? why(host) : 'it has another address now')
    }
    for (const [host, accepted] of this.accepted) {
      if (peers.some((peer) => peer.host === host)) continue
      this.accepted.delete(host)
      accepted.close(why(host))
    }
    for (const peer of peers) {
      if (!this.accepted.has(peer.host)) this.accepted.set(peer.host, new Accepted<Channel>(peer.host))
      if (this.#handler !== null && !this.dialed.has(peer.host)) this.#dial(peer, this.#handler)
    }
  }

  /** For every connection from here on; those that are up stay. Throws what these files have wrong. */
  renewCertificates(tls: TlsFiles): void {
    (this.#server as HttpsServer | null)?.setSecureContext(serverContext(tls))
    this.#options.tls = tls
  }

  async #listen(address: string, port: number): Promise<void> {
    const { tls } = this.#options
    // Node looks for late requests every 30 s unless told otherwise.
    const checks = { headersTimeout: limits.handshakeTimeoutMs, connectionsCheckingInterval: limits.handshakeTimeoutMs / 5 }
    const server = tls === null ? createHttpServer(checks)
      : createHttpsServer({
        ...checks, ...serverContext(tls), requestCert: true, rejectUnauthorized: true, handshakeTimeout: limits.handshakeTimeoutMs,
      })
    server.maxConnections = limits.peersMax * 4
    server.on('connection', (socket: Socket) => {
      this.#incoming.add(socket)
      socket.once('close', () => this.#incoming.delete(socket))
    })
    server.on('request', (_request, response) => { response.writeHead(426).end() })
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      // The declared type is another one; it is the code of the error.
      const why = tlsProblem(socket.authorizationError as unknown as string | undefined) ?? (isReset(error) ? 'it broke off; if it refuses this host\'s certificate, its own log says why' : error.message)
      this.#sayRefused(`refused ${socket.remoteAddress ?? 'a connection'}: ${why}`)
    })
    const sockets = new WebSocketServer({ noServer: true, ...wsOptions })
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const names = tls === null ? null : namesIn((socket as TLSSocket).getPeerCertificate().subjectaltname)
      const gone = names?.find((name) => this.#revoked.has(name))
      if (gone !== undefined && !names!.some((name) => this.accepted.has(name))) {
        this.#refuseRevoked(gone, socket.remoteAddress ?? '?')
        socket.on('error', () => socket.destroy()).once('finish', () => socket.destroy())
        socket.end(`HTTP/1.1 ${REVOKED} Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
        return
      }
      sockets.handleUpgrade(request, socket, head, (ws) => {
        socket.setNoDelay(true)
        this.#accept(ws, names, socket.remoteAddress ?? '?')
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(new Failure(EXIT.config, `cannot listen on ${address.includes(':') ? `[${address}]` : address}:${port}: ${error.message}; choose another address in replication.listen`, { cause: error })))
      server.listen(port, address, resolve)
    })
    this.#server = server
  }

  /** The same one once a minute: who is refused tries again and again. */
  #sayRefused(text: string): void {
    const now = performance.now(), before = this.#refusals.get(text)
    if (before !== undefined && now - before < limits.refusalQuietMs) return
    if (this.#refusals.size >= limits.refusalsMax) this.#refusals.clear()
    this.#refusals.set(text, now)
    this.#options.warn(text)
  }

  /** Once: it tries again and again. */
  #refuseRevoked(host: string, from: string): void {
    if (!this.#refused.has(host)) this.#options.warn(`refused ${host} at ${from}, and will go on doing so: it was revoked`)
    this.#refused.add(host)
  }

  #accept(ws: WebSocket, names: readonly string[] | null, from: string): void {
    let peer: Accepted<Channel> | null = null
    const refuse = (why: string): boolean => { this.#options.warn(`refused a connection from ${from}: ${why}`); return false }
    const channel: Channel = new Channel(ws, helloOf(this.#options), {
      hello: (hello) => {
        if (hello.protocol !== PROTOCOL) return refuse(`it speaks protocol ${hello.protocol}, this release ${PROTOCOL}`)
        if (names !== null && !names.includes(hello.host)) return refuse(`it calls itself ${hello.host}, its certificate says ${names.join(', ') || 'nothing'}`)
        if (this.#revoked.has(hello.host)) { this.#refuseRevoked(hello.host, from); return false }
        noteMembers(hello, this.#options)
        const known = this.accepted.get(hello.host)
        if (known === undefined) return refuse(`${hello.host} is not among the configured peers`)
        peer = known
        known.attach(channel, hello)
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

const isReset = (error: Error): boolean => (error as NodeJS.ErrnoException).code === 'ECONNRESET'

const serverContext = ({ certificate, key, ca }: TlsFiles) => ({ cert: certificate, key, ca, minVersion: 'TLSv1.3' as const })

const helloOf = ({ host, incarnation, powerLosses = 0, members }: CurrentOptions): Hello => {
  const generation = members?.generation() ?? 0
  // Only where there is a record: a release that does not know the field ends the connection.
  return { type: 'hello', protocol: PROTOCOL, host, incarnation, ...(powerLosses === 0 ? {} : { powerLosses }), ...(generation === 0 ? {} : { members: generation }) }
}

/** Also when who says it is not a peer yet: this may be the very change that makes it one. */
function noteMembers(hello: Hello, { members }: CurrentOptions): void {
  if (members !== undefined && (hello.members ?? 0) > members.generation()) members.newer(hello.members!)
}

const urlOf = ({ address, port }: PeerAddress, { tls }: CurrentOptions): string =>
  `${tls === null ? 'ws' : 'wss'}://${address.includes(':') ? `[${address}]` : address}:${port}/`

class DialedHost extends Dialed<Channel> {
  readonly url: string
  readonly #options: CurrentOptions
  /** Of the connection that is up or being made. */
  #socket: WebSocket | null = null
  #connectedAtMs = 0
  #retryMs: number = limits.dialRetryMinMs
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  #complained = ''

  constructor(peer: PeerAddress, options: CurrentOptions, handler: PeerHandler) {
    super(peer.host, handler)
    this.url = urlOf(peer, options)
    this.#options = options
  }

  dial(): void {
    if (this.#stopped) return
    const { tls } = this.#options
    // Who answers matters, not at which address: the certificate must name the host we mean. (The typings of ws
    // declare another result than tls.connect, which gets these options, asks for.)
    const identity: object = {
      checkServerIdentity: (_name: string, certificate: PeerCertificate) => namesIn(certificate.subjectaltname).includes(this.host) ? undefined
        : new Error(`the certificate there names ${namesIn(certificate.subjectaltname).join(', ') || 'nobody'} instead of ${this.host}`),
    }
    const ws = new WebSocket(this.url, {
      ...wsOptions, handshakeTimeout: limits.handshakeTimeoutMs, followRedirects: false,
      ...(tls === null ? {} : { cert: tls.certificate, key: tls.key, ca: tls.ca, minVersion: 'TLSv1.3' as const, ...identity }),
    })
    this.#socket = ws
    let opened = false
    ws.once('open', () => {
      opened = true
      this.#opened(ws)
    })
    ws.on('error', (error: Error) => {
      if (opened || this.#stopped) return
      this.#complain(error.message.endsWith(`response: ${REVOKED}`) ? `${this.host} refuses this host, which was revoked there; "holdfast peer list" shows who belongs to the cluster`
        : `${this.host} cannot be reached at ${this.url}: ${this.#meaning(error)}`)
    })
    ws.once('close', () => { if (!opened) this.#again() })
  }

  #meaning(error: Error): string {
    const broken = this.#options.tls !== null && isReset(error)
    return tlsProblem((error as NodeJS.ErrnoException).code) ?? (broken ? 'it breaks off; if it refuses this host\'s certificate, its log says why' : error.message)
  }

  /** The same complaint once, not at every retry. */
  #complain(text: string): void {
    if (text !== this.#complained) this.#options.warn(text)
    this.#complained = text
  }

  #opened(ws: WebSocket): void {
    const channel: Channel = new Channel(ws, helloOf(this.#options), {
      hello: (hello) => {
        if (hello.protocol !== PROTOCOL || hello.host !== this.host) {
          this.#complain(`${this.url} is ${hello.host} with protocol ${hello.protocol}, expected ${this.host} with ${PROTOCOL}`)
          return false
        }
        noteMembers(hello, this.#options)
        this.#connectedAtMs = performance.now()
        this.#complained = ''
        this.#options.info(`connected to ${this.host}`)
        this.connected(channel, hello)
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

  override stop(reason?: string): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    super.stop(reason)
    this.#socket?.terminate()
  }
}
