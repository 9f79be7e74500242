/** CONFIG_CHANGE: told at once, told later to a device that is not started, and never waited for. */
import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { VhostClient } from '../../lib/client/front-end.js'
import { EMPTY, configPayload, statePayload } from '../../lib/client/payloads.js'
import { serveDevice, type DeviceServer } from '../../lib/device/server.js'
import type { Geometry, GuestVolume } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { MessageSocket } from '../../fixtures/lab/message-socket.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

const CHANGE = { request: 2, flags: 1, payload: new Uint8Array(0), fds: [] }

/** Completes everything without doing it. */
function nothingVolume(geometry: Geometry): GuestVolume {
  return {
    geometry, admit: () => true, submit: (request) => request.complete(0), endBatch: () => undefined, setWriteCache: () => undefined,
    activate: (frontEnd) => frontEnd.onOwned(), deactivate: () => undefined,
  }
}

function serve(t: Test): { server: DeviceServer; geometry: Geometry; socket: string } {
  const work = new Workspace('change'), socket = work.file('s')
  const geometry = { capacitySectors: 2048, blockSizeBytes: 512, readOnly: false, serial: 'x', writeCache: true, discards: true }
  const server = serveDevice({ name: 'v', volume: nothingVolume(geometry), socket: { path: socket }, info: () => undefined, warn: () => undefined })
  t.teardown(async () => {
    server.close()
    await work.close()
  })
  return { server, geometry, socket }
}

async function openChannel(client: VhostClient): Promise<MessageSocket> {
  const [ours, theirs] = native.socketPair()
  await client.channel.acknowledge(MESSAGE.setBackendReqFd, EMPTY, [theirs])
  native.closeFd(theirs)
  return new MessageSocket(ours)
}

t.test('a started device is told, and reads the new capacity', async (t) => {
  const { server, geometry, socket } = serve(t)
  const client = await VhostClient.connect(socket), channel = await openChannel(client)
  geometry.capacitySectors = 4096
  server.configChanged()
  t.match(await channel.next(), CHANGE, 'without asking for an answer')
  const { payload } = await client.channel.call(MESSAGE.getConfig, configPayload(0, 8))
  t.equal(payload.getBigUint64(12, true), 4096n)
  for (let i = 0; i < 20_000; i++) server.configChanged()
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0, 'a channel that nobody reads stops nothing')
  channel.close()
  await client.close()
})

t.test('a device that is not started is told when it starts', async (t) => {
  const { server, socket } = serve(t)
  const client = await VhostClient.connect(socket), channel = await openChannel(client)
  await client.channel.acknowledge(MESSAGE.setVringEnable, statePayload(0, 0))
  server.configChanged()
  let told = false
  const message = channel.next().then((got) => { told = true; return got })
  await sleep(100)
  t.equal(told, false)
  await client.channel.acknowledge(MESSAGE.setVringEnable, statePayload(0, 1))
  t.match(await message, CHANGE)
  channel.close()
  await client.close()
})

t.test('a front end that opens its channel after the start is told then', async (t) => {
  const { server, socket } = serve(t)
  const client = await VhostClient.connect(socket)
  server.configChanged()
  const channel = await openChannel(client)
  t.match(await Promise.race([channel.next(), sleep(1000)]), CHANGE)
  channel.close()
  await client.close()
})
