import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ControlClient } from '../../lib/control/client.js'
import { ControlServer } from '../../lib/control/server.js'
import { EXIT, Failure } from '../../lib/core/failure.js'
import { until } from '../../fixtures/lab/workspace.js'
import { FakeHost, fakeFigures, hostStatus } from './fake-host.js'

interface Reply { readonly status: number; readonly lines: readonly unknown[] }

function call(socketPath: string, method: string, path: string, body?: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    request({ socketPath, method, path }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
        .on('end', () => resolve({ status: response.statusCode ?? 0, lines: text.trimEnd().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as unknown) }))
    }).on('error', reject).end(body)
  })
}

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'hf-control-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function started(t: Test, host = new FakeHost()): Promise<{ socket: string; host: FakeHost; server: ControlServer }> {
  const socket = join(directory(t), 'control.sock')
  const server = new ControlServer(socket, host, fakeFigures)
  await server.start()
  t.teardown(() => server.stop())
  return { socket, host, server }
}

t.test('status', async (t) => {
  const { socket } = await started(t)
  t.same(await call(socket, 'GET', '/v1/status'), { status: 200, lines: [hostStatus()] })
})

t.test('flush streams its progress and ends with the result', async (t) => {
  const { socket, host } = await started(t)
  const result = { volume: 'db-0.1_x', base: 7, seconds: 0.5 }
  host.flushes.set('db-0.1_x', async (progress) => { progress(1, 3); progress(3, 3); return result })
  t.same(await call(socket, 'POST', '/v1/volumes/db-0.1_x/flush'), { status: 200, lines: [{ done: 1, total: 3 }, { done: 3, total: 3 }, { result }] })
})

t.test('a failure before the first line has its HTTP status, a later one is the last line', async (t) => {
  const { socket, host } = await started(t)
  const failure = new Failure(EXIT.unsafe, 'not owned here')
  host.flushes.set('early', () => Promise.reject(failure))
  host.flushes.set('late', async (progress) => { progress(0, 9); throw failure })
  const error = { error: 'not owned here', exitCode: EXIT.unsafe }
  t.same(await call(socket, 'POST', '/v1/volumes/early/flush'), { status: 409, lines: [error] })
  t.same(await call(socket, 'POST', '/v1/volumes/late/flush'), { status: 200, lines: [{ done: 0, total: 9 }, error] })
  t.match(await call(socket, 'POST', '/v1/volumes/none/flush'), { status: 404, lines: [{ exitCode: EXIT.usage }] })
})

t.test('a scrub is told whose records and how fast, and that nobody waits for it any more', async (t) => {
  const { socket, host } = await started(t)
  t.same(await call(socket, 'POST', '/v1/scrub?rate=1048576&volume=db01'), { status: 200, lines: [{ done: 1, total: 2 }, { result: { logs: [], seconds: 1 } }] })
  t.match(await call(socket, 'POST', '/v1/volumes/db01/verify'), { status: 200, lines: [{ result: { volume: 'db01' } }] })
  t.same(host.asked, [['scrub', 'db01', 1048576], ['verify', 'db01']])
  for (const query of ['', '?rate=', '?rate=0', '?rate=1048575', '?rate=1e99', '?rate=x']) t.match(await call(socket, 'POST', `/v1/scrub${query}`), { status: 404, lines: [{ exitCode: EXIT.usage }] }, query)
  host.scrubbed = null
  const waiting = request({ socketPath: socket, method: 'POST', path: '/v1/scrub?rate=1048576' }, (response) => { response.once('data', () => waiting.destroy()) })
  waiting.on('error', () => undefined).end()
  await until('the end of it', 3000, () => host.asked.length === 4)
  t.same(host.asked.slice(2), [['scrub', null, 1048576], ['scrub called off']])
})

t.test('a bug behind the API is answered, and the daemon lives on', async (t) => {
  const { socket, host } = await started(t)
  host.answer = () => { throw new TypeError('a bug') }
  t.match(await call(socket, 'GET', '/v1/status'), { status: 500, lines: [{ error: /internal error: TypeError: a bug/, exitCode: EXIT.internal }] })
  host.answer = () => hostStatus()
  t.match(await call(socket, 'GET', '/v1/status'), { status: 200 })
})

t.test('dirty data is given up only by a call that says so', async (t) => {
  const { socket, host } = await started(t)
  for (const query of ['', '?accept=', '?accept=yes']) {
    t.match(await call(socket, 'POST', `/v1/volumes/db01/discard-dirty${query}`), { status: 404, lines: [{ exitCode: EXIT.usage, error: /say accept=data-loss/ }] })
  }
  t.same(host.asked, [])
  t.same(await call(socket, 'POST', '/v1/volumes/db01/discard-dirty?accept=data-loss'), { status: 200, lines: [{ volume: 'db01', epoch: 4, lostBytes: 2 ** 20 }] })
  t.same(host.asked, [['discardDirty', 'db01']])
})

t.test('a volume hears that its guest has ended', async (t) => {
  const { socket, host } = await started(t)
  t.same(await call(socket, 'POST', '/v1/volumes/db01/guest-ended'), { status: 200, lines: [{ volume: 'db01', draining: true, dirtyBytes: 4096 }] })
  t.match(await call(socket, 'GET', '/v1/volumes/db01/guest-ended'), { status: 404 })
  t.same(host.asked, [['guestEnded', 'db01']])
})

t.test('a takeover is told who was fenced and why a loss is accepted, or neither', async (t) => {
  const { socket, host } = await started(t)
  t.match(await call(socket, 'POST', '/v1/volumes/db01/takeover'), { status: 200, lines: [{ result: { volume: 'db01', from: 'hv09' } }] })
  await call(socket, 'POST', '/v1/volumes/db01/takeover?fenced=hv09&accept-loss=%20burnt%20down')
  t.same(host.asked, [['takeover', 'db01', { fenced: null, acceptLoss: null }], ['takeover', 'db01', { fenced: 'hv09', acceptLoss: 'burnt down' }]])
  for (const query of ['?fenced=', '?accept-loss=', '?accept-loss=%20', `?accept-loss=${'x'.repeat(201)}`]) {
    t.match(await call(socket, 'POST', `/v1/volumes/db01/takeover${query}`), { status: 404, lines: [{ exitCode: EXIT.usage }] }, query)
  }
  t.equal(host.asked.length, 2)
})

t.test('members of the cluster', async (t) => {
  const { socket, host } = await started(t)
  t.match(await call(socket, 'GET', '/v1/peers'), { status: 200, lines: [{ generation: 3 }] })
  t.match(await call(socket, 'POST', '/v1/peers/hv10/add?address=%5B::1%5D:7400&fault-domain=r1'), { status: 200, lines: [{ name: 'hv10', changed: true }] })
  t.match(await call(socket, 'POST', '/v1/peers/hv10/revoke'), { status: 200, lines: [{ unknown: ['volumes elsewhere'] }] })
  await call(socket, 'POST', '/v1/peers/hv10/revoke?force=yes')
  t.same(host.asked, [['addPeer', { name: 'hv10', address: '[::1]:7400', faultDomain: 'r1' }], ['revokePeer', 'hv10', false], ['revokePeer', 'hv10', true]])
  for (const path of ['hv10/add', 'hv10/add?address=x:1&fault-domain=a%20b', 'HV/add?address=x:1', 'hv10', 'hv10/remove']) t.match(await call(socket, 'POST', `/v1/peers/${path}`), { status: 404 }, path)
  t.match(await call(socket, 'GET', '/v1/peers/hv10/revoke'), { status: 404 })
  t.equal(host.asked.length, 3)
})

t.test('maintenance, and copies for a time', async (t) => {
  const { socket, host } = await started(t)
  t.match(await call(socket, 'GET', '/v1/host/ok-to-stop'), { status: 200, lines: [{ host: 'hv07', ok: true, reasons: { length: 0 } }] })
  t.match(await call(socket, 'POST', '/v1/host/maintenance?state=on&timeout=700'), { status: 200, lines: [{ done: 1, total: 2 }, { result: { on: true, ok: true } }] })
  t.match(await call(socket, 'POST', '/v1/host/maintenance?state=off'), { status: 200, lines: [{ on: false }] })
  t.match(await call(socket, 'POST', '/v1/host/copies?least=0&for=60000'), { status: 200, lines: [{ volumes: ['db01'], forMs: 60000 }] })
  t.match(await call(socket, 'POST', '/v1/host/copies'), { status: 200, lines: [{ forMs: 0 }] })
  t.same(host.asked, [['maintenance', 700], ['maintenance off'], ['copies', 0, 60000], ['copies', 'policy']])
  for (const path of ['maintenance', 'maintenance?state=on', 'maintenance?state=on&timeout=0', 'maintenance?state=maybe&timeout=1', 'maintenance?state=on&timeout=1e99',
    'copies?least=0', 'copies?for=5', 'copies?least=2&for=5', 'copies?least=-1&for=5', 'copies?least=0&for=0', 'copies?least=0&for=604800001']) {
    t.match(await call(socket, 'POST', `/v1/host/${path}`), { status: 404, lines: [{ exitCode: EXIT.usage }] }, path)
  }
  t.equal(host.asked.length, 4)
})

t.test('what is not part of the API is refused, however odd', async (t) => {
  const { socket } = await started(t)
  for (const [method, path] of [['GET', '/'], ['POST', '/v1/status'], ['GET', '/v1/volumes/x/flush'], ['GET', '//'], ['POST', '/v1/volumes/%E0%A4%A/flush'], ['GET', '/v1/status?x']] as const) {
    t.same(await call(socket, method, path), { status: 404, lines: [{ error: `${method} ${path} is not part of the control API`, exitCode: EXIT.usage }] })
  }
})

t.test('the socket is for owner and group, and nothing else is left in its directory', async (t) => {
  const { socket, server } = await started(t)
  t.equal(statSync(socket).mode & 0o777, 0o660)
  t.same(readdirSync(join(socket, '..')), ['control.sock'])
  await server.stop()
  t.same(readdirSync(join(socket, '..')), [])
})

t.test('a socket that somebody answers on is not taken, and survives the refused one\'s stop', async (t) => {
  const { socket } = await started(t)
  const second = new ControlServer(socket, new FakeHost(), fakeFigures)
  await t.rejects(second.start(), { exitCode: EXIT.unsafe, message: `another daemon answers on ${socket}; stop it, or give this one another host.control_socket` })
  await second.stop()
  t.match(await call(socket, 'GET', '/v1/status'), { status: 200 })
})

t.test('a dead socket is replaced, anything else is not', async (t) => {
  const socket = join(directory(t), 'control.sock')
  const dead = createServer().listen(`${socket}.old`)
  await new Promise((resolve) => dead.once('listening', resolve))
  renameSync(`${socket}.old`, socket)
  await new Promise((resolve) => dead.close(resolve))
  t.ok(statSync(socket).isSocket(), 'as a killed daemon leaves it')
  const server = new ControlServer(socket, new FakeHost(), fakeFigures)
  t.teardown(() => server.stop())
  await server.start()
  t.match(await call(socket, 'GET', '/v1/status'), { status: 200 })
  writeFileSync(`${socket}.txt`, 'precious')
  await t.rejects(new ControlServer(`${socket}.txt`, new FakeHost(), fakeFigures).start(), { exitCode: EXIT.config, message: /is there already and no socket/ })
  t.equal(readFileSync(`${socket}.txt`, 'utf8'), 'precious')
})

t.test('a predecessor that stops late leaves its successor\'s socket alone', async (t) => {
  const { socket, server } = await started(t)
  rmSync(socket)
  const successor = new ControlServer(socket, new FakeHost(), fakeFigures)
  t.teardown(() => successor.stop())
  await successor.start()
  await server.stop()
  t.match(await call(socket, 'GET', '/v1/status'), { status: 200 })
})

t.test('the socket\'s directory is made; where that is impossible, one sentence', async (t) => {
  const path = directory(t)
  const server = new ControlServer(join(path, 'run/holdfast/control.sock'), new FakeHost(), fakeFigures)
  t.teardown(() => server.stop())
  await server.start()
  writeFileSync(join(path, 'file'), '')
  const socket = join(path, 'file/control.sock')
  await t.rejects(new ControlServer(socket, new FakeHost(), fakeFigures).start(), { exitCode: EXIT.config, message: new RegExp(`^cannot listen on host.control_socket ${socket}: `) })
})

t.test('volumes: shown, added with what the body says, removed with progress', async (t) => {
  const { socket, host } = await started(t)
  t.match(await call(socket, 'GET', '/v1/volumes'), { status: 200, lines: [[{ name: 'db01' }]] })
  t.match(await call(socket, 'GET', '/v1/volumes/db01'), { status: 200, lines: [{ name: 'db01', phase: 'serving' }] })
  t.match(await call(socket, 'GET', '/v1/volumes/db09'), { status: 404, lines: [{ exitCode: EXIT.usage, error: 'no volume db09 on this host; there are: db01' }] })
  t.same(await call(socket, 'PUT', '/v1/volumes/new', '{"backing":"/x","name":"other"}'), { status: 200, lines: [{ volume: 'new', socket: '/run/new.sock' }] })
  t.same(await call(socket, 'DELETE', '/v1/volumes/new'), { status: 200, lines: [{ done: 1, total: 2 }, { result: { volume: 'new', seconds: 1 } }] })
  t.same(host.asked, [['addVolume', { backing: '/x', name: 'new' }], ['removeVolume', 'new']], 'it is called as the path says')
  for (const body of ['', '[]', 'null', '"x"', '{', `{"x":"${'x'.repeat(70_000)}"}`]) t.match(await call(socket, 'PUT', '/v1/volumes/new', body), { status: 404, lines: [{ exitCode: EXIT.usage }] }, body.slice(0, 20))
  t.equal(host.asked.length, 2)
})

t.test('the readers\' socket shows and changes nothing', async (t) => {
  const at = directory(t), [operators, readers] = [join(at, 'c'), join(at, 'r')] as const, host = new FakeHost(), server = new ControlServer(operators, host, fakeFigures, { readers: { path: readers } })
  await server.start()
  t.same(await call(readers, 'GET', '/v1/status'), { status: 200, lines: [hostStatus()] })
  for (const [method, path] of [['POST', '/v1/volumes/db01/cache?action=drop'], ['PUT', '/v1/volumes/x'], ['DELETE', '/v1/volumes/db01'], ['HEAD', '/v1/status']] as const) {
    const { status, lines } = await call(readers, method, path)
    t.equal(status, 403, `${method} ${path}`)
    if (method !== 'HEAD') t.match(lines, [{ exitCode: EXIT.denied, error: `${readers} only shows; use ${operators} to change something` }])
  }
  t.same(host.asked, [])
  await server.stop()
  t.same(readdirSync(at), [], 'both are gone')
})

t.test('docs/control-api.md: every call of the client, and every one there is answered', async (t) => {
  const text = readFileSync(new URL('../../../docs/control-api.md', import.meta.url), 'utf8')
  const documented = [...text.matchAll(/^\| `(GET|PUT|POST|DELETE) (\/v1\/\S+)` \|/gm)].map((row) => ({ method: row[1]!, path: row[2]! }))
  const shape = (method: string, path: string): string => `${method} ${path.split('?')[0]!.replace(/(volumes|peers)\/[^/]+/, '$1/NAME')}`
  const { socket } = await started(t)
  const values: Readonly<Record<string, string>> = { NAME: 'db01', MODE: 'write-back', ACTION: 'fill', MS: '1000', BYTES: '1048576', N: '0', ADDRESS: 'h:1' }
  for (const { method, path } of documented) {
    const { lines } = await call(socket, method, path.replace(/\b[A-Z]+\b/g, (word) => values[word] ?? word), method === 'PUT' ? '{}' : undefined)
    t.notMatch(JSON.stringify(lines), /is not part of the control API|must be/, `${method} ${path}`)
  }
  const asked: string[] = [], recorder = createHttpServer((request, response) => { asked.push(shape(request.method!, request.url!)); response.end('{"error":"no","exitCode":64}\n') })
  const path = join(directory(t), 'r')
  await new Promise<void>((resolve) => recorder.listen(path, resolve))
  t.teardown(() => recorder.close())
  const client = new ControlClient(path), quiet = (): void => undefined, request = { fenced: null, acceptLoss: null }, addition = { name: 'a', address: 'h:1', faultDomain: null }
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    status: () => client.status(), measures: () => client.measures(), guestEnded: () => client.guestEnded('v'), resize: () => client.resize('v'), addVolume: () => client.addVolume('v', {}), removeVolume: () => client.removeVolume('v', quiet), discardDirty: () => client.discardDirty('v'),
    flush: () => client.flush('v', null, quiet), freeze: () => client.freeze({ volume: 'v' }, 1, quiet), thaw: () => client.thaw({ volume: 'v' }), policy: () => client.policy('v', 'write-back', quiet),
    cache: () => client.cache('v', 'fill'), okToStop: () => client.okToStop(), maintenanceOn: () => client.maintenanceOn(1, quiet), maintenanceOff: () => client.maintenanceOff(),
    fewerCopies: () => client.fewerCopies(0, 1), policyCopies: () => client.policyCopies(), peers: () => client.peers(), addPeer: () => client.addPeer(addition), revokePeer: () => client.revokePeer('a', false),
    takeover: () => client.takeover('v', request), scrub: () => client.scrub(null, 1, quiet), verify: () => client.verify('v', quiet),
  }
  const known = new Set(documented.map((each) => shape(each.method, each.path)))
  for (const name of Object.getOwnPropertyNames(ControlClient.prototype).filter((each) => each !== 'constructor')) {
    t.ok(name in calls, `${name} is looked at`)
    await t.rejects(calls[name]!())
    t.ok(known.has(asked.at(-1)!), `${name}: ${asked.at(-1)} is documented`)
  }
})
