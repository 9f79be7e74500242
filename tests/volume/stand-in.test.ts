/** A host that takes a dead member's place gets the sealed logs too, while the storage takes nothing: then the owner may die as well. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab, PATIENT } from './lab.js'

const SECTORS = 16 * 2048
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }
const quiet = (): void => undefined

t.test(`the owner dies after the member that was replaced (SEED=${seed})`, async (t) => {
  const { cluster } = await lab(t, 'standin', SECTORS * 512, { hosts: ['a', 'b', 'c'], replicas: { a: ['b', 'c'] }, regionSize: '96MiB', timing: PATIENT, volume: 'destage_delay = "1h"' })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), c = cluster.host('c')
  await until('all hosts to be connected', 10_000, async () => (await a.status()).peers.every((peer) => peer.dialed && peer.accepted))
  const client = await VhostClient.connect(cluster.socket('a'), buffer), model = new DiskModel(SECTORS, seed)
  await model.run(client, 300)
  await a.control.freeze({ volume: 'db01' }, 10 * 60_000, quiet)
  await model.run(client, 1500)
  t.same((await a.volume('db01')).set, ['a', 'b'])
  await b.kill9()
  await model.run(client, 100)
  t.same((await a.volume('db01')).set, ['a', 'c'], 'c takes its place')
  const held = (await a.volume('db01')).inherited
  t.ok(held.length > 0 && held.every(({ holders }) => !holders.includes('c')), 'and has nothing of before')

  await until('c to have the sealed logs', 20_000, async () => (await a.volume('db01')).inherited.every(({ holders }) => holders.includes('c')))
  const { base, inherited, dirtyBytes, outlook } = await a.volume('db01')
  t.ok(inherited.length > 0 && inherited[0]!.kept > base && dirtyBytes > 0 && outlook.freezeBroken === null, 'all of it is dirty, and the storage has got nothing')
  await model.run(client, 100)
  const { counters } = await a.volume('db01')
  t.ok(counters.claimChanges < 8, 'changes of the claim are few')
  await a.kill9()
  const onC = await VhostClient.connect(cluster.socket('c'), buffer)
  t.same(model.settle(await model.readAll(onC)), [], 'everything acknowledged is on c')
  await model.run(onC, 50)
  t.same(model.wrong, [])
  await c.control.flush('db01', null, quiet)
  await onC.close()
})

t.test(`a new owner that is no holder gets the logs of the only one, and goes on without it (SEED=${seed})`, async (t) => {
  // In quarantine nothing is destaged.
  const { cluster } = await lab(t, 'owner-copies', SECTORS * 512, {
    hosts: ['a', 'b', 'c'], replicas: { a: ['b'], c: ['b', 'a'] }, regionSize: '96MiB', volume: 'destage_delay = "1h"',
    timing: 'renew = "200ms"\nfail_after = "800ms"\ndead_after = "1600ms"\nquarantine = "10m"\npeer_deadline = "4s"',
  })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), c = cluster.host('c')
  await until('all hosts to be connected', 10_000, async () => (await a.status()).peers.every((peer) => peer.dialed && peer.accepted))
  const client = await VhostClient.connect(cluster.socket('a'), buffer), model = new DiskModel(SECTORS, seed)
  await model.run(client, 1000)
  await a.kill9()
  const onC = await VhostClient.connect(cluster.socket('c'), buffer)
  t.same(model.settle(await model.readAll(onC)), [], 'read from b')
  t.match(await c.volume('db01'), { owner: 'c', quarantine: true, inherited: [{ holders: ['b'] }] })
  await until('c to be named', 20_000, async () => (await c.volume('db01')).inherited.every(({ holders }) => holders.includes('c')))
  await model.run(onC, 50)
  await b.kill9()
  t.same(model.settle(await model.readAll(onC)), [], 'read here')
  t.same(model.wrong, [])
  await onC.close()
})
