/** Who may look: a token where there is one, else only what is on this machine and knows it. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { isLoopback } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'

const TOKEN = /^[\x21-\x7e]{16,}$/

/** Throws Failure(config). */
export function readToken(path: string): string {
  const fail = (why: string): never => { throw new Failure(EXIT.config, `http.token_file ${path} ${why}; make one with "openssl rand -hex 32"`) }
  let token: string
  try {
    if (statSync(path).size > limits.httpTokenBytesMax) return fail(`has more than ${limits.httpTokenBytesMax} bytes`)
    token = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (error instanceof Failure) throw error
    return fail(`cannot be read: ${(error as Error).message}`)
  }
  return TOKEN.test(token) ? token : fail('must hold one token of at least 16 printable ASCII characters, without a space')
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

export class Access {
  readonly #token: Buffer | null

  /** Null: no token is asked for. */
  constructor(token: string | null) { this.#token = token === null ? null : digest(token) }

  get asksForToken(): boolean { return this.#token !== null }

  /** Null: come in. */
  refusal(request: IncomingMessage): { readonly status: 401 | 403; readonly why: string } | null {
    if (this.#token !== null) {
      const given = tokenOf(request.headers.authorization ?? '')
      return given !== null && timingSafeEqual(digest(given), this.#token) ? null : { status: 401, why: 'a token is needed: as a bearer token, or as the password of any user' }
    }
    // A web page elsewhere may have its name resolve to this machine, and a browser here would show it what we answer.
    const { host = '' } = request.headers, name = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(host)?.[1] ?? ''
    return isLoopback(name.replace(/^\[(.*)\]$/, '$1')) ? null : { status: 403, why: `"${host}" is no name of this machine's loopback; use localhost or 127.0.0.1, or set http.token_file` }
  }
}

/** Browsers ask for user and password, and know nothing of bearer tokens. */
function tokenOf(authorization: string): string | null {
  const bearer = /^Bearer +(\S+)$/i.exec(authorization), basic = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization)
  if (bearer !== null) return bearer[1]!
  if (basic === null) return null
  const text = Buffer.from(basic[1]!, 'base64').toString('utf8')
  return text.includes(':') ? text.slice(text.indexOf(':') + 1) : null
}
