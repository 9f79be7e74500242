/** Planned moves of a volume while nothing of it is destaged: what is inherited is read from the hosts that hold it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab } from './lab.js'

const SECTORS = 2049
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }

t.test(`from host to host and back with everything dirty, then a holder dies (SEED=${seed})`, async (t) => {
  const { cluster, held } = await lab(t, 'moves', SECTORS * 512, {
    hosts: ['a', 'b', 'c'], replicas: { a: ['c'], b: ['c'], c: ['a', 'b'] }, volume: 'destage_delay = "60s"',
  })
  await cluster.start()
  // Who cannot be reached at a move is not sealed, and only the sealed are holders (R4b).
  await until('all hosts to be connected', 10_000, async () => {
    const all = await Promise.all([...cluster.hosts.values()].map((host) => host.status()))
    return all.every(({ peers }) => peers.every((peer) => peer.dialed && peer.accepted))
  })
  const model = new DiskModel(SECTORS, seed)
  const turn = async (host: string): Promise<VhostClient> => {
    const client = await VhostClient.connect(cluster.socket(host), buffer)
    t.same(model.settle(await model.readAll(client)), [], `on ${host}, as it was left`)
    await model.run(client, 120)
    t.same(model.settle(await model.readAll(client)), [], `on ${host}, after more writes`)
    return client
  }
  for (const host of ['a', 'b', 'a', 'c']) await (await turn(host)).close()
  const onB = await turn('b')
  const moved = await cluster.host('b').volume('db01')
  t.match(moved, { owner: 'b', quarantine: false, base: 0 })
  t.ok(moved.inherited.length >= 4, `${moved.inherited.length} logs are inherited`)
  t.ok(moved.counters.remoteReadBytes > 0, 'and read from their holders')
  t.ok(moved.inherited.every((log) => log.holders.length >= 2), JSON.stringify(moved.inherited))

  await cluster.host('a').kill9()
  t.same(model.settle(await model.readAll(onB)), [], 'without one of the holders')
  await cluster.host('b').control.flush('db01', null, () => undefined)
  t.same(model.settle(readFileSync(held)), [], 'and the image has it all')
  t.same(model.settle(await model.readAll(onB)), [], 'as the owner reads it from there')
  t.same(model.wrong, [])
  await cluster.host('a').start()
  await until('every old log to be let go', 10_000, async () => {
    const all = await Promise.all([...cluster.hosts.values()].map(async (host) => (await host.status()).replicas))
    return all.flat().every((log) => log.epoch >= moved.epoch)
  })
  await onB.close()
})
