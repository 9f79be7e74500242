/**
 * /metrics and the dashboard over TCP, for looking only:
 *
 *   GET /              the dashboard, and its files
 *   GET /metrics       for Prometheus
 *   GET /v1/measures   -> HostMeasures, what the dashboard asks for once a second
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { HostConfig } from '../config/schema.js'
import { formatAddress, isLoopback } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { CONTENT_TYPE, type Figures } from '../metrics/figures.js'
import { Access, readToken } from './access.js'
import { loadAssets } from './assets.js'

type HttpConfig = NonNullable<HostConfig['http']>

const HEADERS = {
  'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const

export class WebServer {
  readonly #config: HttpConfig
  readonly #server: Server
  readonly #access: Access
  #figures: Figures | null = null
  readonly #assets = loadAssets()

  /** Throws Failure(config) for a token or a certificate that is no good. */
  constructor(config: HttpConfig) {
    this.#config = config
    this.#access = new Access(config.token_file === undefined ? null : readToken(config.token_file))
    const answer = (request: IncomingMessage, response: ServerResponse): void => { void this.#answer(request, response) }
    const { certificate, key } = config
    this.#server = certificate === undefined || key === undefined ? createServer(answer) : withTls(certificate, key, answer)
    this.#server.maxConnections = limits.httpConnectionsMax
    this.#server.headersTimeout = limits.httpHeadMs
    this.#server.requestTimeout = limits.httpHeadMs
    this.#server.keepAliveTimeout = limits.httpKeepMs
    this.#server.setTimeout(limits.httpIdleMs, (socket) => socket.destroy())
  }

  /** What people should know about where it listens; null: nothing. */
  get warning(): string | null {
    const { listen, certificate } = this.#config
    return isLoopback(listen.address) || certificate !== undefined ? null
      : `http.listen = "${formatAddress(listen)}" shows its token and its figures to everybody on the way; set http.certificate and http.key`
  }

  async start(figures: Figures): Promise<void> {
    this.#figures = figures
    const { address: host, port } = this.#config.listen
    try {
      await new Promise<void>((resolve, reject) => this.#server.once('error', reject).listen({ host, port }, resolve))
    } catch (error) {
      throw new Failure(EXIT.config, `cannot listen on http.listen ${formatAddress(this.#config.listen)}: ${(error as Error).message}`, { cause: error })
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const reply = (status: number, type: string, body: string | Buffer, more: Readonly<Record<string, string>> = {}): void => {
      response.writeHead(status, { ...HEADERS, 'content-type': type, 'content-length': Buffer.byteLength(body), ...more })
      response.end(request.method === 'HEAD' ? undefined : body)
    }
    const say = (status: number, sentence: string, more?: Readonly<Record<string, string>>): void => reply(status, 'text/plain; charset=utf-8', `${sentence}\n`, more)
    const refused = this.#access.refusal(request)
    if (refused !== null) { say(refused.status, refused.why, refused.status === 401 ? { 'www-authenticate': 'Basic realm="holdfast", charset="UTF-8"' } : {}); return }
    if (request.method !== 'GET' && request.method !== 'HEAD') { say(405, 'nothing can be changed here', { allow: 'GET, HEAD' }); return }
    const path = (request.url ?? '/').split('?')[0]!, asset = this.#assets.get(path)
    try {
      if (asset !== undefined) reply(200, asset.type, asset.bytes)
      else if (path === '/metrics') reply(200, CONTENT_TYPE, await this.#figures!.metrics())
      else if (path === '/v1/measures') reply(200, 'application/json', JSON.stringify(this.#figures!.measures()))
      else say(404, `there is no ${path} here`)
    } catch (error) {
      if (error instanceof Failure) say(503, error.message)
      else say(500, `internal error: ${(error as Error).stack ?? String(error)}`)
    }
  }
}

function withTls(certificate: string, key: string, answer: (request: IncomingMessage, response: ServerResponse) => void): Server {
  try {
    return createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key), minVersion: 'TLSv1.2' }, answer)
  } catch (error) {
    throw new Failure(EXIT.config, `http.certificate ${certificate} and http.key ${key} cannot be used: ${(error as Error).message}`, { cause: error })
  }
}
