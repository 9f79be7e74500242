import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { httpSchema } from '../../lib/config/schema.js'
import { EXIT } from '../../lib/core/failure.js'
import { limits } from '../../lib/limits.js'
import type { HostMeasures } from '../../lib/ports/measures.js'
import { WebServer } from '../../lib/web/server.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { freePorts } from '../../fixtures/lab/workspace.js'
import { fakeFigures } from '../control/fake-host.js'

interface Reply { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }
interface Asking { readonly method?: string; readonly path?: string; readonly headers?: Record<string, string>; readonly tls?: boolean }

function ask(port: number, { method = 'GET', path = '/', headers = {}, tls = false }: Asking = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, method, path, headers, rejectUnauthorized: false }
    const call = tls ? httpsRequest(options) : httpRequest(options)
    call.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }))
    }).on('error', reject).end()
  })
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'hf-web-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function started(t: Test, more: Record<string, string> = {}, address = '127.0.0.1'): Promise<{ port: number; server: WebServer }> {
  const [port] = await freePorts(1), server = new WebServer(httpSchema.parse({ listen: `${address}:${port}`, ...more }))
  await server.start(fakeFigures)
  t.teardown(() => server.stop())
  return { port: port!, server }
}

t.test('the dashboard, its files, figures and metrics; nothing else, and nothing to change', async (t) => {
  const { port, server } = await started(t)
  t.equal(server.warning, null)
  const page = await ask(port)
  t.match(page, { status: 200, headers: { 'content-type': /^text\/html/, 'cache-control': 'no-store', 'content-security-policy': /^default-src 'none'; script-src 'self'/ } })
  const wanted = [...page.body.matchAll(/(?:href|src)="([^":]+)"/g)].map((m) => `/${m[1]}`)
  t.ok(wanted.length >= 3)
  // What a module imports is there too, with the right type.
  for (let at = 0; at < wanted.length; at++) {
    const path = wanted[at]!, { status, body, headers } = await ask(port, { path })
    t.equal(status, 200, path)
    t.match(headers['content-type'], path.endsWith('.css') ? /^text\/css/ : /^text\/javascript/, path)
    for (const [, relative] of body.matchAll(/^(?:import|export) .*from '([^']+)';?$/gm)) {
      const next = new URL(relative!, `http://x${path}`).pathname
      if (!wanted.includes(next)) wanted.push(next)
    }
  }
  t.ok(wanted.includes('/dashboard/uplot.js') && wanted.includes('/lib/live/rates.js') && wanted.includes('/lib/core/log-histogram.js'))
  t.match(await ask(port, { path: '/metrics' }), { status: 200, headers: { 'content-type': /^text\/plain; version=0\.0\.4/ }, body: /^holdfast_dirty_bytes\{volume="db01"\} 3145728$/m })
  const { body } = await ask(port, { path: '/v1/measures' })
  t.match(JSON.parse(body) as HostMeasures, { status: { host: 'hv07' }, volumes: [{ name: 'db01' }] })
  for (const path of ['/v1/status', '/../package.json', '/dashboard/../../package.json', '/lib/limits.js', '/dashboard/main.js.map', '//etc/passwd', '/v1/host/ok-to-stop']) t.equal((await ask(port, { path })).status, 404, path)
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) t.match(await ask(port, { method, path: '/v1/volumes/db01/flush' }), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await ask(port, { method: 'HEAD', path: '/metrics' }), { status: 200, body: '' })
})

t.test('without a token, only by the names of the loopback: a page elsewhere must not read it through a browser here', async (t) => {
  const { port } = await started(t)
  for (const host of ['localhost', `localhost:${port}`, '127.0.0.1:80', '[::1]:7480']) t.equal((await ask(port, { headers: { host } })).status, 200, host)
  for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1']) {
    t.match(await ask(port, { path: '/v1/measures', headers: { host } }), { status: 403, body: /is no name of this machine's loopback/ }, host)
  }
})

t.test('with a token, only with it: for Prometheus as a bearer token, for a browser as a password', async (t) => {
  const token = 'f'.repeat(20) + '0123456789ab', file = join(folder(t), 'token')
  writeFileSync(file, `${token}\n`)
  const { port, server } = await started(t, { token_file: file }, '0.0.0.0')
  t.match(server.warning, /^http\.listen = "0\.0\.0\.0:\d+" shows its token and its figures to everybody on the way; set http\.certificate/)
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
  for (const authorization of [`Bearer ${token}`, `bearer  ${token}`, basic(`anybody:${token}`)]) t.equal((await ask(port, { path: '/metrics', headers: { authorization, host: 'hv07:7480' } })).status, 200)
  for (const authorization of ['', 'Bearer', `Bearer ${token}x`, `Bearer ${token.slice(1)}`, basic(token), basic(`${token}:`), `Digest ${token}`]) {
    t.match(await ask(port, { path: '/metrics', headers: { authorization } }), { status: 401, headers: { 'www-authenticate': /^Basic realm="holdfast"/ }, body: /^a token is needed/ }, authorization)
  }
  t.equal((await ask(port, { path: '/' })).status, 401, 'the page too')
})

t.test('TLS', { skip: requires('openssl') }, async (t) => {
  const path = folder(t), certificate = join(path, 'crt'), key = join(path, 'key')
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=hv07'], { stdio: 'ignore' })
  const { port } = await started(t, { certificate, key })
  t.match(await ask(port, { path: '/metrics', tls: true }), { status: 200, body: /holdfast_/ })
  await t.rejects(ask(port, { path: '/metrics' }))
  writeFileSync(key, 'no key')
  t.throws(() => new WebServer(httpSchema.parse({ certificate, key })), { exitCode: EXIT.config, message: /^http\.certificate .* and http\.key .* cannot be used: / })
})

t.test('what is wrong with a token file or an address is one sentence', async (t) => {
  const file = join(folder(t), 'token')
  const refused = (message: RegExp): void => { t.throws(() => new WebServer(httpSchema.parse({ token_file: file })), { exitCode: EXIT.config, message }) }
  refused(/^http\.token_file .*token cannot be read: ENOENT.*; make one with "openssl rand -hex 32"$/)
  for (const [text, message] of [['', /must hold one token/], ['short', /must hold one token of at least 16/], ['two words of one token', /without a space/], ['x'.repeat(5000), /more than 4096 bytes/]] as const) {
    writeFileSync(file, text)
    refused(message)
  }
  const { port } = await started(t), second = new WebServer(httpSchema.parse({ listen: `127.0.0.1:${port}` }))
  await t.rejects(second.start(fakeFigures), { exitCode: EXIT.config, message: new RegExp(`^cannot listen on http\\.listen 127\\.0\\.0\\.1:${port}: `) })
})

t.test('who says nothing is not waited for, and connections have a bound', { timeout: 40_000 }, async (t) => {
  const { port } = await started(t)
  const idle = Array.from({ length: limits.httpConnectionsMax }, () => connect(port, '127.0.0.1'))
  t.teardown(() => { for (const socket of idle) socket.destroy() })
  await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  await t.rejects(ask(port), 'one too many is closed')
  const from = performance.now()
  await Promise.all(idle.map((socket) => new Promise((resolve) => { socket.on('error', () => undefined).once('close', resolve).resume() })))
  t.ok(performance.now() - from < limits.httpIdleMs + 2 * limits.httpHeadMs + 10_000)
  t.equal((await ask(port)).status, 200)
})
