/** Every write to the shared storage fails for a while (nbdkit's error filter), and the owner dies amid that: its guest sees no error, and nothing is lost. */
import t from 'tap'
import { readFileSync } from 'node:fs'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { SlowStorage } from '../../fixtures/lab/slow-storage.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 32768

t.test('storage that refuses every write', { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse'), timeout: 60_000 }, async (t) => {
  const work = new Workspace('errors')
  t.teardown(() => work.close())
  const storage = new SlowStorage(work, work.file('shared'), SECTORS * 512)
  await storage.start(1, 1)
  const cluster = await LabCluster.create(work, {
    image: storage.image, hosts: ['a', 'b', 'c'], copies: 1, replicas: { a: ['b', 'c'], b: ['c', 'a'] }, regionSize: '256MiB', volume: 'destage_delay = "50ms"\nlimit_iops = 500\n',
    timing: 'renew = "300ms"\nfail_after = "1s"\ndead_after = "2s"\nquarantine = "1s"\npeer_deadline = "2s"',
  })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), load = new VerifiedLoad({ sectors: SECTORS, reads: 1, flushes: 3 })
  await load.attach(cluster.socket('a'))
  load.run()
  await until('something on the backing', 20_000, async () => (await a.volume('db01')).base > 0)

  storage.fail()
  await load.more(500)
  const refused = await a.volume('db01')
  t.ok(refused.dirtyBytes > 0)
  t.match(a.child!.output, /destaging stopped: .*; the data stays dirty and is tried again/)
  await a.kill9()
  await load.attach(cluster.socket('b'))
  load.run()
  await load.more(300)
  const taken = await b.volume('db01')
  t.match(taken, { phase: 'serving', owner: 'b', counters: { guestErrors: 0 } }, 'from its copy, while the storage still refuses')
  await sleep(1500)
  t.equal((await b.volume('db01')).base, taken.base, 'nothing counts as written')

  storage.heal()
  await until('the backing to catch up', 20_000, async () => (await b.volume('db01')).base >= taken.acked)
  await load.pause()
  await load.verify()
  await load.leave()
  t.equal(await b.stop(), 0, 'b drains and stops')
  load.checkImage(readFileSync(storage.image))
  t.same(load.wrong.slice(0, 5), [], `${load.done} requests, none failed`)
})
