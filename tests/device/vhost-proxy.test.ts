/** The proxy itself: nothing that goes through it changes but what it was told to change. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { VhostClient } from '../../lib/client/front-end.js'
import { EMPTY } from '../../lib/client/payloads.js'
import { FEATURE, MESSAGE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Child } from '../../fixtures/lab/process.js'
import { VhostProxy, type ProxyOptions, type TracedMessage } from '../../fixtures/lab/vhost-proxy.js'
import { ROOT, Workspace, until } from '../../fixtures/lab/workspace.js'

async function start(t: Test, options: Partial<ProxyOptions>): Promise<{ work: Workspace; socket: string; target: string; proxy: VhostProxy }> {
  const work = new Workspace('proxy')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', 16 * 1024 * 1024), target = work.file('s'), socket = work.file('p')
  await startBlk(work, 'blk', ['--socket-path', target, '--blk-file', image])
  const proxy = new VhostProxy({ listen: socket, target, ...options })
  work.onClose(() => proxy.close())
  return { work, socket, target, proxy }
}

t.test('data, descriptors and a trace', async (t) => {
  const lines: TracedMessage[] = []
  const { socket, proxy } = await start(t, { trace: (line) => lines.push(line) })
  const client = await VhostClient.connect(socket)
  client.buffer.fill(5, 0, 512)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 3, lengthSectors: 1, bufferOffset: 0 }), 0)
  t.equal(await client.submit({ kind: 'read', lbaSectors: 3, lengthSectors: 1, bufferOffset: 512 }), 0)
  t.equal(client.buffer[512], 5, 'guest memory and eventfds arrived')
  const [ours, theirs] = native.socketPair()
  await client.channel.acknowledge(MESSAGE.setBackendReqFd, EMPTY, [theirs])
  native.closeFd(theirs)
  await client.close()
  t.match(lines[0], { from: 'front', request: 'getFeatures', flags: 1, size: 0, fds: 0, payload: '' })
  t.match(lines[1], { from: 'back', request: 'getFeatures', flags: 5, size: 8, fds: 0 })
  t.match(lines.find((line) => line.request === 'setMemTable'), { size: 40, fds: 1, fdBytes: [client.memory.lengthBytes] })
  t.match(lines.find((line) => line.from === 'back' && line.request === 'getInflightFd'), { fds: 1 })
  t.match(lines.find((line) => line.request === 'setBackendReqFd'), { fds: 1 })
  t.ok(lines.every((line, i) => i === 0 || line.us >= lines[i - 1]!.us))
  t.equal(proxy.count('getVringBase'), 1)
  // The channel's other end is closed with the session: it got there, and nobody in between kept it.
  const cells = new Int32Array(9)
  native.setNonBlocking(ours)
  await until('the end of the back-end channel', 3000, () => native.recvMessage(ours, new Uint8Array(1), 0, 1, cells) === 0)
  native.closeFd(ours)
})

t.test('hidden features, a held up message and a dropped connection', async (t) => {
  const { socket, proxy } = await start(t, {
    hideFeatures: FEATURE.eventIdx, hideProtocolFeatures: PROTOCOL_FEATURE.inflightShmfd, delayMs: { getConfig: 300 }, drop: { setOwner: 1 },
  })
  await t.rejects(VhostClient.connect(socket), /closed the connection|could not be read from|took no/)
  const began = performance.now(), client = await VhostClient.connect(socket)
  t.ok(performance.now() - began >= 300, 'getConfig was held up')
  t.equal(client.features & FEATURE.eventIdx, 0n)
  t.not(client.features & FEATURE.flush, 0n)
  t.equal(proxy.count('getInflightFd'), 0)
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0)
  await client.close()
})

t.test('the command', async (t) => {
  const { work, target } = await start(t, {})
  const main = join(ROOT, 'dist/fixtures/lab/vhost-proxy-main.js'), trace = work.file('trace')
  const command = new Child(process.execPath, [main, work.file('c'), target, '--trace', trace, '--hide-features', '0x200'], work.file('log'))
  work.onClose(() => command.kill9())
  const client = await until('the proxy', 5000, () => VhostClient.connect(work.file('c')).catch(() => null))
  t.equal(client.features & FEATURE.flush, 0n, 'bit 9 is hidden')
  await client.close()
  t.match(JSON.parse(readFileSync(trace, 'utf8').split('\n')[0]!), { request: 'getFeatures' })
  t.equal(await command.stop(), 0, 'it ends on SIGTERM')
  const mistakes = [
    [[], /two sockets are needed/], [['a', 'b', '--drop', 'getFoo=1'], /getFoo is not a message/], [['a', 'b', '--delay', 'x'], /not of the form/],
  ] as const
  for (const [args, said] of mistakes) {
    const wrong = new Child(process.execPath, [main, ...args], work.file('wrong'))
    t.equal(await wrong.waitExit(5000), 64)
    t.match(wrong.output, said)
  }
})
