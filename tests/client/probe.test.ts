/** Whether a back end answers, asked as QEMU would ask it, and within a bound. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { whySilent } from '../../lib/client/probe.js'
import { FLAG, MESSAGE, encodeMessage } from '../../lib/vhost/protocol.js'

const features = (flags: number): Uint8Array => encodeMessage(MESSAGE.getFeatures, flags, new Uint8Array(8))

async function listening(t: Test, serve: (socket: Socket) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'hf-probe-')), path = join(folder, 's'), sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    serve(socket.on('error', () => undefined))
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return path
}

t.test('one that answers, in pieces as well', async (t) => {
  const asked: Buffer[] = []
  const path = await listening(t, (socket) => socket.on('data', (data) => {
    asked.push(data)
    const answer = features(FLAG.version | FLAG.reply)
    socket.write(answer.subarray(0, 5))
    setTimeout(() => socket.write(answer.subarray(5)), 20)
  }))
  t.equal(await whySilent(path, 5000), null)
  t.same(Buffer.concat(asked), Buffer.from('010000000100000000000000', 'hex'))
})

t.test('those that do not', async (t) => {
  t.equal(await whySilent('/nonexistent/socket', 5000), 'does not exist')
  t.match(await whySilent(await listening(t, () => undefined), 100), /^was silent for 0.1 s$/)
  t.match(await whySilent(await listening(t, (socket) => socket.end()), 5000), /^closed the connection|^cannot be used/)
  t.match(await whySilent(await listening(t, (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')), 5000), /not as a vhost-user back end/)
  t.match(await whySilent(await listening(t, (socket) => socket.write(features(FLAG.version))), 5000), /not as a vhost-user back end/)
})
