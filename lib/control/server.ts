/**
 * The control API: HTTP and JSON on a unix socket. Its calls are in docs/control-api.md. Those that take long answer with lines of
 * progress and end with a result, or an error: {"error": sentence, "exitCode": n}; the code is what a command should end with.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { CONTENT_TYPE, type Figures } from '../metrics/figures.js'
import type { CacheAction, CopiesResult, HostControl, PeerChange, Progress, TakeoverRequest, VolumeChoice, VolumeStatus } from '../ports/control.js'
import { NamedSocket } from './named-socket.js'
import { sectionIn } from './section.js'

const HTTP_STATUS: Readonly<Record<number, number>> = { [EXIT.usage]: 404, [EXIT.unsafe]: 409, [EXIT.unreachable]: 503, [EXIT.denied]: 403, [EXIT.config]: 400 }

/** `group`: may use it; null: root alone. `readers`: another socket, on which nothing can be changed; null: there is none. */
export interface ControlOptions {
  readonly group?: string | undefined
  readonly readers?: { readonly path: string; readonly group?: string | undefined } | null
}

export class ControlServer {
  readonly #sockets: readonly NamedSocket[]

  constructor(path: string, control: HostControl, figures: Figures, { group, readers = null }: ControlOptions = {}) {
    const operators = new NamedSocket({ path, key: 'host.control_socket', group, groupKey: 'host.control_group' },
      (request, response) => { void handle(control, figures, request, response) })
    this.#sockets = readers === null ? [operators] : [operators, new NamedSocket({ ...readers, key: 'host.status_socket', groupKey: 'host.status_group' }, (request, response) => {
      if (request.method === 'GET') void handle(control, figures, request, response)
      else refuse(response, new Failure(EXIT.denied, `${readers.path} only shows; use ${path} to change something, for which you may need another group`))
    })]
  }

  /** Throws Failure(unsafe) or Failure(config). */
  async start(): Promise<void> { for (const socket of this.#sockets) await socket.start() }

  /** Ends calls under way. */
  async stop(): Promise<void> { await Promise.all(this.#sockets.map((socket) => socket.stop())) }
}

async function handle(control: HostControl, figures: Figures, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/' } = request
  try {
    if (method === 'GET' && url === '/metrics') response.writeHead(200, { 'content-type': CONTENT_TYPE }).end(await figures.metrics())
    else if (method === 'GET' && url === '/v1/measures') reply(response, 200, figures.measures())
    else await route(control, `${method} ${url}`, new URL(url, 'unix://control'), request, response)
  } catch (error) {
    refuse(response, error)
  }
}

function refuse(response: ServerResponse, error: unknown): void {
  const { exitCode, message } = asFailure(error)
  if (response.headersSent) response.end(`${JSON.stringify({ error: message, exitCode })}\n`)
  else reply(response, HTTP_STATUS[exitCode] ?? 500, { error: message, exitCode })
}

async function route(control: HostControl, call: string, { pathname, searchParams: query }: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const verb = call.split(' ')[0]!
  const [, volume = '', action = ''] = /^\/v1\/volumes\/([A-Za-z0-9._-]+)\/(resize|guest-ended|flush|policy|cache|discard-dirty|verify|takeover)$/.exec(pathname) ?? []
  const post = verb === 'POST', one = /^\/v1\/volumes\/([A-Za-z0-9._-]+)$/.exec(pathname)?.[1] ?? null
  if (call === 'GET /v1/status') reply(response, 200, control.status())
  else if (call === 'GET /v1/volumes') reply(response, 200, control.status().volumes)
  else if (one !== null && verb === 'GET') reply(response, 200, named(control, one))
  else if (one !== null && verb === 'PUT') reply(response, 200, await control.addVolume({ ...await sectionIn(request), name: one }))
  else if (one !== null && verb === 'DELETE') await stream(response, (progress) => control.removeVolume(one, progress))
  else if (call === 'GET /v1/host/ok-to-stop') reply(response, 200, await control.okToStop())
  else if (post && pathname === '/v1/host/maintenance') await maintenance(control, query, response)
  else if (post && pathname === '/v1/host/copies') reply(response, 200, await copies(control, query))
  else if (call === 'GET /v1/peers') reply(response, 200, control.peers())
  else if (post && peerPath.test(pathname)) reply(response, 200, await peer(control, pathname, query))
  else if (post && action === 'resize') reply(response, 200, await control.resize(volume))
  else if (post && action === 'guest-ended') reply(response, 200, await control.guestEnded(volume))
  else if (post && action === 'cache') reply(response, 200, await control.cache(volume, cacheActionOf(query.get('action'))))
  else if (post && action === 'discard-dirty') reply(response, 200, await control.discardDirty(acceptedFor(volume, query.get('accept'))))
  else if (post && action === 'flush') await stream(response, (progress) => control.flush(volume, wonOf(query.get('to')), progress))
  else if (post && action === 'policy') await stream(response, (progress) => control.policy(volume, modeOf(query.get('mode')), progress))
  else if (post && action === 'verify') await stream(response, (progress, gone) => control.verify(volume, progress, gone))
  else if (post && action === 'takeover') await stream(response, (progress, gone) => control.takeover(volume, takeoverOf(query), progress, gone))
  else if (post && pathname === '/v1/scrub') await stream(response, (progress, gone) => control.scrub(query.get('volume'), rateOf(query.get('rate')), progress, gone))
  else if (post && pathname === '/v1/freeze') await stream(response, (progress) => control.freeze(choiceOf(query), leaseOf(query.get('lease')), progress))
  else if (post && pathname === '/v1/thaw') reply(response, 200, await control.thaw(choiceOf(query)))
  else throw new Failure(EXIT.usage, `${call} is not part of the control API`)
}

function named(control: HostControl, name: string): VolumeStatus {
  const { volumes, waiting } = control.status(), found = volumes.find((volume) => volume.name === name), waits = waiting.find((volume) => volume.name === name)
  if (found !== undefined) return found
  if (waits !== undefined) throw new Failure(EXIT.unreachable, `volume ${name} waits for its storage: ${waits.reason}`)
  throw new Failure(EXIT.usage, `no volume ${name} on this host; there are: ${[...volumes, ...waiting].map((volume) => volume.name).join(', ') || 'none'}`)
}

const peerPath = /^\/v1\/peers\/([a-z0-9][a-z0-9-]{0,62})\/(add|revoke)$/

function peer(control: HostControl, pathname: string, query: URLSearchParams): Promise<PeerChange> {
  const [, name = '', action = ''] = peerPath.exec(pathname)!
  if (action === 'revoke') return control.revokePeer(name, query.get('force') === 'yes')
  const address = query.get('address'), faultDomain = query.get('fault-domain')
  if (address === null) throw new Failure(EXIT.usage, 'address must be that of the host, "host:port" or "[ipv6]:port"')
  if (faultDomain !== null && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(faultDomain)) throw new Failure(EXIT.usage, 'fault-domain must be a name: letters, digits, ".", "_" and "-", at most 64')
  return control.addPeer({ name, address, faultDomain })
}

/** What cannot be undone is not done by half a call. */
function acceptedFor(volume: string, accept: string | null): string {
  if (accept === 'data-loss') return volume
  throw new Failure(EXIT.usage, 'discard-dirty loses data for ever; say accept=data-loss')
}

async function maintenance(control: HostControl, query: URLSearchParams, response: ServerResponse): Promise<void> {
  const state = query.get('state'), timeoutMs = Number(query.get('timeout') ?? NaN)
  if (state === 'off') { reply(response, 200, await control.maintenanceOff()); return }
  if (state !== 'on') throw new Failure(EXIT.usage, 'state must be on or off')
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > limits.maintenanceTimeoutMaxMs) {
    throw new Failure(EXIT.usage, `timeout must be milliseconds from 1 to ${limits.maintenanceTimeoutMaxMs}`)
  }
  await stream(response, (progress, gone) => control.maintenanceOn(timeoutMs, progress, gone))
}

function copies(control: HostControl, query: URLSearchParams): Promise<CopiesResult> {
  const least = query.get('least'), forMs = Number(query.get('for') ?? NaN)
  if (least === null && !query.has('for')) return control.policyCopies()
  if (least === null || !/^\d$/.test(least) || Number(least) >= limits.copiesMax) throw new Failure(EXIT.usage, `least must be from 0 to ${limits.copiesMax - 1}`)
  if (!Number.isSafeInteger(forMs) || forMs < 1 || forMs > limits.exemptionMaxMs) throw new Failure(EXIT.usage, `for must be milliseconds from 1 to ${limits.exemptionMaxMs}`)
  return control.fewerCopies(Number(least), forMs)
}

/** A reason is for ever, and short enough for what is said with it. */
function takeoverOf(query: URLSearchParams): TakeoverRequest {
  const fenced = query.get('fenced'), acceptLoss = query.get('accept-loss')
  const length = acceptLoss?.trim().length ?? 1
  if (fenced === '') throw new Failure(EXIT.usage, 'fenced must name the host that was powered off')
  if (length < 1 || length > limits.lossReasonCharacters) throw new Failure(EXIT.usage, `accept-loss needs a reason of 1 to ${limits.lossReasonCharacters} characters`)
  return { fenced, acceptLoss: acceptLoss?.trim() ?? null }
}

function wonOf(text: string | null): number | null {
  if (text === null) return null
  const won = Number(text)
  if (!Number.isSafeInteger(won) || won < 0) throw new Failure(EXIT.usage, `to=${text} is not a write's number`)
  return won
}

function modeOf(text: string | null): 'write-back' | 'write-through' {
  if (text === 'write-back' || text === 'write-through') return text
  throw new Failure(EXIT.usage, 'mode must be write-back or write-through')
}

function cacheActionOf(text: string | null): CacheAction {
  if (text === 'fill' || text === 'pause' || text === 'drop') return text
  throw new Failure(EXIT.usage, 'action must be fill, pause or drop')
}

function leaseOf(text: string | null): number {
  const ms = Number(text ?? NaN)
  if (!Number.isSafeInteger(ms) || ms < 1 || ms > limits.holdLeaseMaxMs) throw new Failure(EXIT.usage, `lease must be milliseconds from 1 to ${limits.holdLeaseMaxMs}`)
  return ms
}

function rateOf(text: string | null): number {
  const bytes = Number(text ?? NaN)
  if (!Number.isSafeInteger(bytes) || bytes < limits.scrubBytesPerSecondMin) throw new Failure(EXIT.usage, `rate must be bytes a second, at least ${limits.scrubBytesPerSecondMin}`)
  return bytes
}

function choiceOf(query: URLSearchParams): VolumeChoice {
  const volume = query.get('volume'), domain = query.get('domain')
  if (volume !== null && domain === null) return { volume }
  if (domain !== null && volume === null) return { domain }
  throw new Failure(EXIT.usage, 'give either volume or domain')
}

async function stream(response: ServerResponse, work: (progress: Progress, gone: AbortSignal) => Promise<unknown>): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const line = (body: unknown): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    // A reader that does not read gets fewer lines of progress, and not a growing queue of them.
    if (!response.writableNeedDrain) response.write(`${JSON.stringify(body)}\n`)
  }
  const result = await work((done, total) => line({ done, total }), gone.signal)
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  response.end(`${JSON.stringify({ result })}\n`)
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}

const asFailure = (error: unknown): { exitCode: number; message: string } =>
  error instanceof Failure ? error : { exitCode: EXIT.internal, message: `internal error: ${(error as Error).stack ?? String(error)}` }
