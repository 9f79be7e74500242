/** A copy that confirms, but slowly, holds up every write: another host has it before long, and it is not taken back at once. */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { LinkMesh } from '../../fixtures/lab/link-proxy.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 16384

t.test('a slow member gives way, and nothing waits for it any more', { timeout: 60_000 }, async (t) => {
  const work = new Workspace('slow')
  t.teardown(() => work.close())
  const links = new LinkMesh(work), image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, {
    image, links, copies: 1, replicas: { a: ['b', 'c'] }, regionSize: '64MiB', volume: 'destage_delay = "10m"\n',
    timing: 'renew = "300ms"\nfail_after = "3s"\ndead_after = "6s"\nquarantine = "3s"\npeer_deadline = "5s"\nslow_peer = "100ms"',
  })
  await cluster.start()
  const a = cluster.host('a'), load = new VerifiedLoad({ sectors: SECTORS, reads: 0 })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(100)
  t.same((await a.volume('db01')).set, ['a', 'b'])

  links.delay('a', 'b', 250)
  await until('c to have the copy', 40_000, async () => (await a.volume('db01')).set.join() === 'a,c')
  t.match(a.child!.output, /b confirms a record only after \d+ ms; another host has its copy/)
  links.delay('a', 'b', 0)
  await sleep(1000)
  t.same((await a.volume('db01')).set, ['a', 'c'], 'it stays where it is')
  await load.pause()
  await load.verify()
  await endOfLoad(t, load, a, image)
})
