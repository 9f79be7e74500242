/** Hosts on loopback: certificates issued once, networks that note what happens to them, and connections by hand. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { WsPeerNetwork, type NetworkOptions, type TlsFiles } from '../../lib/peer/network.js'
import { encodeFrame } from '../../lib/peer/frame.js'
import { initCluster, issueHost } from '../../lib/pki/pki.js'
import type {
  AcceptedPeer, Acknowledgement, Answer, DialedPeer, Hello, PeerHandler, Push, Request,
} from '../../lib/ports/peer.js'
import { epoch, won } from '../../lib/core/units.js'
import { Workspace, freePorts } from '../../fixtures/lab/workspace.js'

export const VOLUME = '6f1f0a52-8a2e-4f6c-9d0b-0a5b1c2d3e4f'
export const sealRequest: Request = { type: 'seal', volume: VOLUME, epoch: epoch(3), handOver: false }
export const ack: Acknowledgement = { type: 'ack', volume: VOLUME, epoch: epoch(3), won: won(8) }
export const append: Push = { type: 'append', volume: VOLUME, epoch: epoch(3), won: won(8), durable: false }

/** Certificates of a cluster's hosts. */
export async function issue(work: Workspace, cluster: string, hosts: readonly string[]): Promise<Map<string, TlsFiles>> {
  const directory = work.file(cluster)
  mkdirSync(directory)
  await initCluster(directory)
  const files = new Map<string, TlsFiles>()
  for (const host of hosts) {
    const { certificate, key, ca } = await issueHost(directory, host, [])
    files.set(host, { certificate: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(ca) })
  }
  return files
}

export type Answering = (message: Request, answer: (message: Answer, raw?: readonly Uint8Array[]) => void) => void

/** One host's network and everything that it was told. */
export class Site implements PeerHandler {
  readonly network: WsPeerNetwork
  readonly incarnation: string
  readonly said: string[] = []
  readonly pushes: { readonly from: string; readonly message: Push; readonly raw: Buffer }[] = []
  readonly acknowledgements: { readonly from: string; readonly message: Acknowledgement }[] = []
  readonly requests: { readonly from: string; readonly message: Request }[] = []
  changes = 0
  answering: Answering = (_message, answer) => answer({ type: 'problem', reason: 'none here' })

  constructor(options: Omit<NetworkOptions, 'info' | 'warn' | 'incarnation'>, incarnation = randomBytes(16).toString('hex')) {
    this.incarnation = incarnation
    const note = (text: string): void => { this.said.push(text) }
    this.network = new WsPeerNetwork({ ...options, incarnation, info: note, warn: note })
  }

  start(): Promise<void> { return this.network.start(this) }
  dialed(host: string): DialedPeer { return this.network.dialed.get(host)! }
  accepted(host: string): AcceptedPeer { return this.network.accepted.get(host)! }
  /** Both ways, as the same one. */
  linked(host: string): boolean {
    const there = this.dialed(host).incarnation
    return there !== null && this.accepted(host).incarnation === there
  }
  heard(pattern: RegExp): boolean { return this.said.some((text) => pattern.test(text)) }

  dialedChanged(): void { this.changes++ }
  acceptedChanged(): void { this.changes++ }
  onPush(peer: DialedPeer, message: Push, raw: Uint8Array): void { this.pushes.push({ from: peer.host, message, raw: Buffer.from(raw) }) }
  onAcknowledgement(peer: AcceptedPeer, message: Acknowledgement): void { this.acknowledgements.push({ from: peer.host, message }) }
  onRequest(peer: AcceptedPeer, message: Request, answer: (message: Answer, raw?: readonly Uint8Array[]) => void): void {
    this.requests.push({ from: peer.host, message })
    this.answering(message, answer)
  }
}

export interface SiteOptions { readonly tls?: TlsFiles | null; readonly incarnation?: string; readonly members?: NonNullable<NetworkOptions['members']>; readonly ports?: Readonly<Record<string, number>> }

/** Addresses of a few hosts; sites of them are stopped when the test ends. */
export class Street {
  readonly #t: Test
  readonly ports: Map<string, number>
  readonly #tls: ReadonlyMap<string, TlsFiles> | null

  private constructor(t: Test, ports: Map<string, number>, tls: ReadonlyMap<string, TlsFiles> | null) {
    this.#t = t
    this.ports = ports
    this.#tls = tls
  }

  static async create(t: Test, hosts: readonly string[], tls: ReadonlyMap<string, TlsFiles> | null): Promise<Street> {
    const ports = await freePorts(hosts.length)
    return new Street(t, new Map(hosts.map((host, i) => [host, ports[i]!])), tls)
  }

  async site(host: string, peers: readonly string[], options: SiteOptions = {}): Promise<Site> {
    const site = new Site({
      host, listen: { address: '127.0.0.1', port: this.ports.get(host)! },
      peers: peers.map((peer) => ({ host: peer, address: '127.0.0.1', port: options.ports?.[peer] ?? this.ports.get(peer)! })),
      tls: options.tls === undefined ? this.#tls?.get(host) ?? null : options.tls, ...(options.members === undefined ? {} : { members: options.members }),
    }, options.incarnation)
    await site.start()
    this.#t.teardown(() => site.network.stop())
    return site
  }

  /** A connection by hand, which says only what the test says. Errors are kept in `failed`. */
  dial(host: string, tls: Partial<TlsFiles> | null = null): { readonly ws: WebSocket; readonly ended: Promise<string>; opened(): boolean } {
    const keys = tls === null ? {} : {
      ...(tls.certificate === undefined ? {} : { cert: tls.certificate }), ...(tls.key === undefined ? {} : { key: tls.key }),
      ...(tls.ca === undefined ? {} : { ca: tls.ca }), rejectUnauthorized: false,
    }
    const ws = new WebSocket(`${tls === null ? 'ws' : 'wss'}://127.0.0.1:${this.ports.get(host)!}/`, { perMessageDeflate: false, ...keys })
    let opened = false, why = ''
    ws.on('open', () => { opened = true })
    ws.on('error', (error: Error) => { why = error.message })
    const ended = new Promise<string>((resolve) => ws.on('close', (code) => resolve(why === '' ? `closed with ${code}` : why)))
    this.#t.teardown(() => ws.terminate())
    return { ws, ended, opened: () => opened }
  }
}

export const hello = (host: string, incarnation = 'c'.repeat(32), protocol = 1): Buffer =>
  encodeFrame(0, { type: 'hello', protocol, host, incarnation } as unknown as Hello)

/** Between two hosts; `hold` keeps every connection open and forwards nothing any more, as a dead switch does. */
export async function proxy(t: Test, port: number): Promise<{ readonly port: number; hold(): void; dropped(): number }> {
  const sockets: Socket[] = []
  let held = false, gone = 0
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.push(from)
      from.on('data', (bytes: Buffer) => { if (!held) to.write(bytes) })
      from.on('error', () => undefined)
      from.on('close', () => {
        gone++
        if (!held) to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as { port: number }).port, hold: () => { held = true }, dropped: () => gone }
}
