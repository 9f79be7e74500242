/** Commands' side of the control API. Every failure is a Failure: the daemon's own, or unreachable, denied. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { EXIT, Failure, type ExitCode } from '../core/failure.js'
import { limits } from '../limits.js'
import type { FlushResult, HostStatus, ResizeResult } from '../ports/control.js'

interface ErrorBody { readonly error: string; readonly exitCode: ExitCode }
type FlushLine = { readonly done: number; readonly total: number } | { readonly result: FlushResult } | ErrorBody

export class ControlClient {
  readonly #path: string
  constructor(path: string) { this.#path = path }

  async status(): Promise<HostStatus> {
    for await (const line of this.#lines('GET', '/v1/status', limits.controlAnswerMs)) {
      const body = line as HostStatus | ErrorBody
      if ('error' in body) throw new Failure(body.exitCode, body.error)
      return body
    }
    return this.#ended()
  }

  async resize(volume: string): Promise<ResizeResult> {
    for await (const line of this.#lines('POST', `/v1/volumes/${encodeURIComponent(volume)}/resize`, limits.resizeTimeoutMs + limits.controlAnswerMs)) {
      const body = line as ResizeResult | ErrorBody
      if ('error' in body) throw new Failure(body.exitCode, body.error)
      return body
    }
    return this.#ended()
  }

  /** Resolves when everything acknowledged before the call is on the backing; takes as long as that takes. */
  async flush(volume: string, progress: (doneBytes: number, totalBytes: number) => void): Promise<FlushResult> {
    for await (const line of this.#lines('POST', `/v1/volumes/${encodeURIComponent(volume)}/flush`, limits.controlSilenceMs)) {
      const body = line as FlushLine
      if ('error' in body) throw new Failure(body.exitCode, body.error)
      if ('result' in body) return body.result
      progress(body.done, body.total)
    }
    return this.#ended()
  }

  #ended(): never { throw new Failure(EXIT.unreachable, `the daemon on ${this.#path} ended before it had answered`) }

  /** The lines of JSON that the daemon sends, as they arrive. */
  async * #lines(method: string, path: string, silenceMs: number): AsyncGenerator<unknown> {
    const response = await this.#call(method, path, silenceMs)
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

  #call(method: string, path: string, silenceMs: number): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = httpRequest({ socketPath: this.#path, method, path, timeout: silenceMs }, resolve)
      call.on('timeout', () => call.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
      call.on('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EACCES'
        ? new Failure(EXIT.denied, `you may not use ${this.#path}; run this as root or as a member of the socket's group`, { cause: error })
        : new Failure(EXIT.unreachable, `no daemon answers on ${this.#path} (${reasonOf(error)}); is "holdfast serve" running, and is this its control socket?`, { cause: error })))
      call.end()
    })
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'there is no such socket'
  if (error.code === 'ECONNREFUSED') return 'nobody listens'
  return error.message
}
