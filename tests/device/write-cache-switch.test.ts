/** The switch that a driver sets with SET_CONFIG outlives what front ends do not tell: a device reset, a lost connection. */
import t from 'tap'
import { configPayload, EMPTY } from '../../lib/client/payloads.js'
import { VhostClient } from '../../lib/client/front-end.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const WCE_AT = 32

async function writeCache(client: VhostClient): Promise<number> {
  const { payload } = await client.channel.call(MESSAGE.getConfig, configPayload(WCE_AT, 1))
  return payload.getUint8(12)
}

const setWriteCache = (client: VhostClient, on: boolean): Promise<void> =>
  client.channel.acknowledge(MESSAGE.setConfig, configPayload(WCE_AT, 1, Uint8Array.of(on ? 1 : 0)))

t.test('set, reset, reconnected, and after the back end died', async (t) => {
  const work = new Workspace('switch')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', 16 * 1024 * 1024), socket = work.file('s'), args = ['--socket-path', socket, '--blk-file', image]
  const daemon = await startBlk(work, 'blk', args)
  const client = await VhostClient.connect(socket, { resumable: true })
  t.equal(await writeCache(client), 1)
  await setWriteCache(client, false)
  t.equal(await writeCache(client), 0, 'what was set is shown')
  client.abort()
  await client.reconnect()
  t.equal(await writeCache(client), 0, 'after a lost connection')
  await daemon.kill9()
  await startBlk(work, 'blk-2', args)
  await client.reconnect()
  t.equal(await writeCache(client), 0, 'after the back end died')
  await client.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  t.equal(await writeCache(client), 0, 'after a device reset')
  client.abort()

  const other = await VhostClient.connect(socket)
  t.equal(await writeCache(other), 1, 'a front end that begins anew finds the default')
  await other.close()
})

t.test('nothing but the switch may be written', async (t) => {
  const work = new Workspace('fields')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', 16 * 1024 * 1024), socket = work.file('s')
  await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image])
  const client = await VhostClient.connect(socket)
  for (const [offset, bytes] of [[0, 8], [20, 4], [34, 2]] as const) {
    await t.rejects(client.channel.acknowledge(MESSAGE.setConfig, configPayload(offset, bytes, new Uint8Array(bytes))), /refused setConfig/)
    await client.channel.acknowledge(MESSAGE.setConfig, configPayload(offset, bytes, new Uint8Array(bytes), 1))
  }
  const { payload } = await client.channel.call(MESSAGE.getConfig, configPayload(0, 60))
  t.equal(payload.getBigUint64(12, true), BigInt(client.capacitySectors), 'what came with a migration changed nothing')
  await client.close()
})
