/** Commands' side of the control API. Every failure is a Failure: the daemon's own, or unreachable, denied. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { EXIT, Failure, type ExitCode } from '../core/failure.js'
import { limits } from '../limits.js'
import type { CacheAction, CacheResult, CopiesResult, DiscardResult, FlushResult, FreezeResult, GuestEndedResult, HostStatus, MaintenanceResult, PeerAddition, PeerChange, PeerList, PolicyResult, Progress, ResizeResult, ScrubResult, StopAnswer, TakeoverRequest, TakeoverResult, ThawResult, VerifyResult, VolumeAdded, VolumeChoice, VolumeRemoved } from '../ports/control.js'
import type { HostMeasures } from '../ports/measures.js'

interface ErrorBody { readonly error: string; readonly exitCode: ExitCode }
type ProgressLine<T> = { readonly done: number; readonly total: number } | { readonly result: T } | ErrorBody

const volumePath = (volume: string): string => `/v1/volumes/${encodeURIComponent(volume)}`

export class ControlClient {
  readonly #path: string
  constructor(path: string) { this.#path = path }

  status(silenceMs: number = limits.controlAnswerMs): Promise<HostStatus> { return this.#ask('GET', '/v1/status', silenceMs) }

  /** The guest is gone, as the VM's management says. */
  guestEnded(volume: string): Promise<GuestEndedResult> { return this.#ask('POST', `${volumePath(volume)}/guest-ended`, limits.controlAnswerMs) }

  measures(): Promise<HostMeasures> { return this.#ask('GET', '/v1/measures', limits.controlAnswerMs) }

  resize(volume: string): Promise<ResizeResult> {
    return this.#ask('POST', `${volumePath(volume)}/resize`, limits.resizeTimeoutMs + limits.controlAnswerMs)
  }

  /** `section`: a [[volume]] of the configuration. */
  addVolume(volume: string, section: Readonly<Record<string, unknown>>): Promise<VolumeAdded> {
    return this.#ask('PUT', volumePath(volume), limits.controlAddMs, JSON.stringify(section))
  }

  removeVolume(volume: string, progress: Progress): Promise<VolumeRemoved> { return this.#follow(volumePath(volume), progress, 'DELETE') }

  /** The caller's user has accepted the loss. */
  discardDirty(volume: string): Promise<DiscardResult> {
    return this.#ask('POST', `${volumePath(volume)}/discard-dirty?accept=data-loss`, limits.claimTimeoutMs + limits.controlAnswerMs)
  }

  /** Resolves when everything acknowledged before the call, or up to `upTo`, is on the backing; takes as long as that takes. */
  flush(volume: string, upTo: number | null, progress: Progress): Promise<FlushResult> {
    return this.#follow(`${volumePath(volume)}/flush${upTo === null ? '' : `?to=${upTo}`}`, progress)
  }

  freeze(choice: VolumeChoice, leaseMs: number, progress: Progress): Promise<FreezeResult> {
    return this.#follow(`/v1/freeze?${new URLSearchParams({ ...choice, lease: String(leaseMs) }).toString()}`, progress)
  }

  thaw(choice: VolumeChoice): Promise<ThawResult> {
    return this.#ask('POST', `/v1/thaw?${new URLSearchParams({ ...choice }).toString()}`, limits.controlAnswerMs)
  }

  policy(volume: string, mode: 'write-back' | 'write-through', progress: Progress): Promise<PolicyResult> {
    return this.#follow(`${volumePath(volume)}/policy?mode=${mode}`, progress)
  }

  cache(volume: string, action: CacheAction): Promise<CacheResult> {
    return this.#ask('POST', `${volumePath(volume)}/cache?action=${action}`, limits.controlAnswerMs)
  }

  okToStop(): Promise<StopAnswer> { return this.#ask('GET', '/v1/host/ok-to-stop', limits.controlAnswerMs) }

  maintenanceOn(timeoutMs: number, progress: Progress): Promise<MaintenanceResult> { return this.#follow(`/v1/host/maintenance?state=on&timeout=${timeoutMs}`, progress) }
  maintenanceOff(): Promise<MaintenanceResult> { return this.#ask('POST', '/v1/host/maintenance?state=off', limits.controlAnswerMs) }

  fewerCopies(least: number, forMs: number): Promise<CopiesResult> { return this.#ask('POST', `/v1/host/copies?least=${least}&for=${forMs}`, limits.controlAnswerMs) }
  policyCopies(): Promise<CopiesResult> { return this.#ask('POST', '/v1/host/copies', limits.controlAnswerMs) }

  peers(): Promise<PeerList> { return this.#ask('GET', '/v1/peers', limits.controlAnswerMs) }

  /** The shared storage may make it wait. */
  addPeer({ name, address, faultDomain }: PeerAddition): Promise<PeerChange> {
    const query = new URLSearchParams({ address, ...(faultDomain === null ? {} : { 'fault-domain': faultDomain }) }).toString()
    return this.#ask('POST', `/v1/peers/${encodeURIComponent(name)}/add?${query}`, limits.membersChangeMs + limits.controlAnswerMs)
  }

  revokePeer(name: string, force: boolean): Promise<PeerChange> {
    return this.#ask('POST', `/v1/peers/${encodeURIComponent(name)}/revoke${force ? '?force=yes' : ''}`, limits.membersChangeMs + limits.controlAnswerMs)
  }

  takeover(volume: string, { fenced, acceptLoss }: TakeoverRequest): Promise<TakeoverResult> {
    const query = new URLSearchParams({ ...(fenced === null ? {} : { fenced }), ...(acceptLoss === null ? {} : { 'accept-loss': acceptLoss }) }).toString()
    return this.#follow(`${volumePath(volume)}/takeover${query === '' ? '' : `?${query}`}`, () => undefined)
  }

  /** Of one volume or of all (null). */
  scrub(volume: string | null, bytesPerSecond: number, progress: Progress): Promise<ScrubResult> {
    return this.#follow(`/v1/scrub?${new URLSearchParams({ rate: String(bytesPerSecond), ...(volume === null ? {} : { volume }) }).toString()}`, progress)
  }

  verify(volume: string, progress: Progress): Promise<VerifyResult> { return this.#follow(`${volumePath(volume)}/verify`, progress) }

  /** One answer. */
  async #ask<T extends object>(method: string, path: string, silenceMs: number, body?: string): Promise<T> {
    for await (const line of this.#lines(method, path, silenceMs, body)) {
      const answer = line as T | ErrorBody
      if ('error' in answer) throw new Failure(answer.exitCode, answer.error)
      return answer
    }
    return this.#ended()
  }

  /** Lines of progress, then the result. */
  async #follow<T>(path: string, progress: Progress, method = 'POST'): Promise<T> {
    for await (const line of this.#lines(method, path, limits.controlSilenceMs)) {
      const body = line as ProgressLine<T>
      if ('error' in body) throw new Failure(body.exitCode, body.error)
      if ('result' in body) return body.result
      progress(body.done, body.total)
    }
    return this.#ended()
  }

  #ended(): never { throw new Failure(EXIT.unreachable, `the daemon on ${this.#path} ended before it had answered`) }

  /** The lines of JSON that the daemon sends, as they arrive. */
  async * #lines(method: string, path: string, silenceMs: number, body?: string): AsyncGenerator<unknown> {
    const response = await this.#call(method, path, silenceMs, body)
    let rest = ''
    try {
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop()!
        if (rest.length > limits.controlAnswerBytesMax) throw this.#stranger('an endless line')
        for (const line of lines) yield this.#parse(line)
      }
    } catch (error) {
      if (error instanceof Failure) throw error
      throw new Failure(EXIT.unreachable, `the daemon on ${this.#path} broke off: ${(error as Error).message}`, { cause: error })
    } finally {
      response.destroy()
    }
  }

  #parse(line: string): unknown {
    let body: unknown
    try { body = JSON.parse(line) } catch { throw this.#stranger('no JSON') }
    if (typeof body !== 'object' || body === null) throw this.#stranger('no object')
    return body
  }

  #stranger(what: string): Failure {
    return new Failure(EXIT.unreachable, `what answers on ${this.#path} is no Holdfast daemon (it sent ${what}); is this its control socket?`)
  }

  #call(method: string, path: string, silenceMs: number, body?: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = httpRequest({ socketPath: this.#path, method, path, timeout: silenceMs, ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' } }) }, resolve)
      call.on('timeout', () => call.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
      call.on('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EACCES'
        ? new Failure(EXIT.denied, `you may not use ${this.#path}; run this as root or as a member of the socket's group`, { cause: error })
        : new Failure(EXIT.unreachable, `no daemon answers on ${this.#path} (${reasonOf(error)}); is "holdfast serve" running, and is this its control socket?`, { cause: error })))
      call.end(body)
    })
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'there is no such socket'
  if (error.code === 'ECONNREFUSED') return 'nobody listens'
  return error.message
}
