/**
 * The control API: HTTP and JSON on a unix socket.
 *
 *   GET  /v1/status                   -> HostStatus
 *   POST /v1/volumes/NAME/flush       -> lines of JSON: {"done":n,"total":n}*, then {"result":...} or {"error":...,"exitCode":n}
 *
 * Errors are {"error": sentence, "exitCode": n}; the code is what a command should end with.
 */
import { chmodSync, renameSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { EXIT, Failure } from '../core/failure.js'
import type { HostControl } from '../ports/control.js'

const HTTP_STATUS: Readonly<Record<number, number>> = { [EXIT.usage]: 404, [EXIT.unsafe]: 409, [EXIT.unreachable]: 503, [EXIT.denied]: 403 }

export class ControlServer {
  readonly #path: string
  readonly #server: Server

  constructor(path: string, control: HostControl) {
    this.#path = path
    this.#server = createServer((request, response) => { void handle(control, request, response) })
  }

  /** Refuses a socket that somebody answers on; a dead one is replaced. */
  async start(): Promise<void> {
    if (await answers(this.#path)) throw new Failure(EXIT.unsafe, `another daemon answers on ${this.#path}; give this one another host.control_socket`)
    const temporary = `${this.#path}.${process.pid}`
    rmSync(temporary, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(new Failure(EXIT.config, `cannot listen on ${this.#path}: ${error.message}`, { cause: error })))
      this.#server.listen(temporary, resolve)
    })
    chmodSync(temporary, 0o660)
    renameSync(temporary, this.#path)
  }

  async stop(): Promise<void> {
    rmSync(this.#path, { force: true })
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}

async function handle(control: HostControl, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://localhost').pathname
  try {
    const flush = /^\/v1\/volumes\/([^/]+)\/flush$/.exec(path)
    if (request.method === 'GET' && path === '/v1/status') reply(response, 200, control.status())
    else if (request.method === 'POST' && flush !== null) await streamFlush(control, decodeURIComponent(flush[1]!), response)
    else reply(response, 404, { error: `${request.method} ${path} is not part of the control API`, exitCode: EXIT.usage })
  } catch (error) {
    const { exitCode, message } = asFailure(error)
    if (response.headersSent) response.end(`${JSON.stringify({ error: message, exitCode })}\n`)
    else reply(response, HTTP_STATUS[exitCode] ?? 500, { error: message, exitCode })
  }
}

async function streamFlush(control: HostControl, volume: string, response: ServerResponse): Promise<void> {
  const result = await control.flush(volume, (done, total) => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(`${JSON.stringify({ done, total })}\n`)
  })
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  response.end(`${JSON.stringify({ result })}\n`)
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}

const asFailure = (error: unknown): { exitCode: number; message: string } =>
  error instanceof Failure ? error : { exitCode: EXIT.internal, message: (error as Error).stack ?? String(error) }
