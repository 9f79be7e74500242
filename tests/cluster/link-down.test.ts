/** Cables are pulled, in real network namespaces: of the host with the copy, then of the owner. */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Namespaces, namespacesMissing } from '../../fixtures/lab/namespaces.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 32768

t.test('links go down and up again', { skip: namespacesMissing(), timeout: 110_000 }, async (t) => {
  const work = new Workspace('cable')
  t.teardown(() => work.close())
  const image = work.image('db01.raw', SECTORS * 512), network = new Namespaces(work, ['a', 'b', 'c'])
  const cluster = await LabCluster.create(work, {
    image, network, copies: 1, replicas: { a: ['b', 'c'] }, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
    timing: 'renew = "300ms"\nfail_after = "1500ms"\ndead_after = "3s"\npeer_deadline = "1s"\nquarantine = "1500ms"',
  })
  await cluster.start()
  const a = cluster.host('a'), load = new VerifiedLoad({ sectors: SECTORS })
  const becomes = (effective: string, set: string): Promise<unknown> => until(`${effective} with {${set}}`, 30_000, async () => {
    const volume = await a.volume('db01')
    return volume.policy.effective === effective && volume.set.join() === set
  })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(300)

  network.down('b')
  await becomes('write-back, 1 copy', 'a,c')
  await load.more(300)
  t.pass('the copy goes to c')
  network.downAt('a')
  await becomes('write-through', 'a')
  await load.more(300)
  t.match((await a.volume('db01')).policy.reason, /0 of 1 copies: b, c not reachable/, 'alone')
  await cluster.connected('a', 'c', false)
  network.upAt('a')
  await becomes('write-back, 1 copy', 'a,c')
  await load.more(300)
  t.pass('c again, by itself')
  network.up('b')

  await load.pause()
  await load.verify()
  await endOfLoad(t, load, a, image)
})
