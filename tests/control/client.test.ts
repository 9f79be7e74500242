import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ControlClient } from '../../lib/control/client.js'
import { ControlServer } from '../../lib/control/server.js'
import { EXIT, Failure } from '../../lib/core/failure.js'
import { FakeHost, fakeFigures, hostStatus } from './fake-host.js'

function socketPath(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'hf-client-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return join(directory, 'control.sock')
}

async function daemon(t: Test): Promise<{ client: ControlClient; host: FakeHost }> {
  const path = socketPath(t), host = new FakeHost(), server = new ControlServer(path, host, fakeFigures)
  await server.start()
  t.teardown(() => server.stop())
  return { client: new ControlClient(path), host }
}

/** Something that listens there and is not our daemon. */
async function stranger(t: Test, onSocket: (socket: Socket) => void): Promise<{ client: ControlClient; path: string }> {
  const path = socketPath(t)
  const server = await new Promise<Server>((resolve) => { const s = createServer(onSocket).listen(path, () => resolve(s)) })
  t.teardown(() => { server.close() })
  return { client: new ControlClient(path), path }
}

t.test('what the daemon says comes back whole, over many packets', async (t) => {
  const { client, host } = await daemon(t)
  const large = hostStatus({ volumes: Array.from({ length: 400 }, (_, i) => ({ ...hostStatus().volumes[0]!, name: `disk-é-${i}` })) })
  host.answer = () => large
  t.same(await client.status(), large)
})

t.test('flush: progress in order, then the result', async (t) => {
  const { client, host } = await daemon(t)
  host.flushes.set('db01', async (progress) => {
    progress(0, 10)
    await new Promise((resolve) => setImmediate(resolve))
    progress(10, 10)
    return { volume: 'db01', base: 9, seconds: 1 }
  })
  const seen: number[][] = []
  t.same(await client.flush('db01', null, (done, total) => seen.push([done, total])), { volume: 'db01', base: 9, seconds: 1 })
  t.same(seen, [[0, 10], [10, 10]])
})

t.test('the daemon\'s failures keep their sentence and code', async (t) => {
  const { client, host } = await daemon(t)
  host.flushes.set('late', async (progress) => { progress(0, 1); throw new Failure(EXIT.damaged, 'a record does not verify') })
  await t.rejects(client.flush('late', null, () => undefined), { name: 'Failure', exitCode: EXIT.damaged, message: 'a record does not verify' })
  await t.rejects(client.flush('none', null, () => undefined), { name: 'Failure', exitCode: EXIT.usage, message: 'no volume none on this host' })
  host.answer = () => { throw new Failure(EXIT.denied, 'not for you') }
  await t.rejects(client.status(), { name: 'Failure', exitCode: EXIT.denied, message: 'not for you' })
})

t.test('nobody there', async (t) => {
  const path = socketPath(t)
  await t.rejects(new ControlClient(path).status(), {
    name: 'Failure', exitCode: EXIT.unreachable,
    message: `no daemon answers on ${path} (there is no such socket); is "holdfast serve" running, and is this its control socket?`,
  })
})

t.test('a daemon that ends in the middle of an answer', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
  const cut = await stranger(t, (socket) => { socket.once('data', () => { socket.write(`${head}5\r\n{"don`); setImmediate(() => socket.destroy()) }) })
  await t.rejects(cut.client.flush('db01', null, () => undefined), { exitCode: EXIT.unreachable, message: new RegExp(`^the daemon on ${cut.path} broke off: `) })
  const early = await stranger(t, (socket) => { socket.once('data', () => socket.end(`${head}0\r\n\r\n`)) })
  await t.rejects(early.client.flush('db01', null, () => undefined), { exitCode: EXIT.unreachable, message: `the daemon on ${early.path} ended before it had answered` })
})

t.test('something else answers there', async (t) => {
  const { client, path } = await stranger(t, (socket) => { socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n')) })
  await t.rejects(client.status(), { exitCode: EXIT.unreachable, message: `what answers on ${path} is no Holdfast daemon (it sent no JSON); is this its control socket?` })
  const ssh = await stranger(t, (socket) => { socket.on('error', () => undefined); socket.end('SSH-2.0-x\r\n') })
  await t.rejects(ssh.client.status(), { exitCode: EXIT.unreachable, message: new RegExp(`^no daemon answers on ${ssh.path} `) })
})
