/** Fault domains between real hosts: where the copy goes, and what is said of it. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab, PATIENT } from './lab.js'

const SECTORS = 2048

t.test('the copy goes to the other rack; without it, to the next host, which is said, and stays', async (t) => {
  const { cluster } = await lab(t, 'racks', SECTORS * 512, { hosts: ['a', 'b', 'c'], replicas: null, domains: { a: 'r1', b: 'r1', c: 'r2' }, timing: PATIENT })
  await cluster.start()
  const a = cluster.host('a'), c = cluster.host('c')
  const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: MODEL_BUFFER_BYTES }), model = new DiskModel(SECTORS, 1)
  await model.run(client, 50)
  t.match(await a.status(), { faultDomain: 'r1', peers: [{ host: 'b', faultDomain: 'r1' }, { host: 'c', faultDomain: 'r2' }], volumes: [{ set: ['a', 'c'], crowding: null }] })
  await c.kill9()
  await model.run(client, 50)
  await until('another copy', 15_000, async () => (await a.volume('db01')).set.includes('b'))
  t.match((await a.volume('db01')).crowding, /^the copy on b is in the owner's fault domain r1; elsewhere there is c \(not reachable, r2\)$/)
  await c.start()
  await until('c to be back', 15_000, async () => (await a.volume('db01')).crowding?.endsWith('there is c (r2)') === true)
  await model.run(client, 50)
  const { set } = await a.volume('db01')
  t.same(set, ['a', 'b'], 'a copy that is in place stays')
  t.match((await holdfast('status', '--control', a.controlPath)).stdout, /on a \(r1\) b \(r1\)\n[^]* {2}TOO NEAR +the copy on b is/)
  t.same(model.settle(await model.readAll(client)), [])
  await client.close()
})
