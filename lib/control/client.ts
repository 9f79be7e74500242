/** Commands' side of the control API. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { EXIT, Failure, type ExitCode } from '../core/failure.js'
import type { FlushResult, HostStatus } from '../ports/control.js'

interface ErrorBody { readonly error: string; readonly exitCode: ExitCode }

export class ControlClient {
  readonly #path: string
  constructor(path: string) { this.#path = path }

  async status(): Promise<HostStatus> {
    const response = await this.#call('GET', '/v1/status')
    let text = ''
    for await (const chunk of response) text += String(chunk)
    const body = JSON.parse(text) as HostStatus | ErrorBody
    if ('error' in body) throw new Failure(body.exitCode, body.error)
    return body
  }

  async flush(volume: string, progress: (doneBytes: number, totalBytes: number) => void): Promise<FlushResult> {
    const response = await this.#call('POST', `/v1/volumes/${encodeURIComponent(volume)}/flush`)
    let rest = ''
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        const body = JSON.parse(line) as { done: number; total: number } | { result: FlushResult } | ErrorBody
        if ('error' in body) throw new Failure(body.exitCode, body.error)
        if ('result' in body) return body.result
        progress(body.done, body.total)
      }
    }
    throw new Failure(EXIT.unreachable, `the daemon on ${this.#path} ended before it had answered`)
  }

  #call(method: string, path: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = httpRequest({ socketPath: this.#path, method, path }, resolve)
      call.once('error', (error) => reject(new Failure(EXIT.unreachable,
        `no daemon answers on ${this.#path} (${error.message}); is "holdfast serve" running, and is this its control socket?`, { cause: error })))
      call.end()
    })
  }
}
