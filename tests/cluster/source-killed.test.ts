/**
 * The source of a migration dies right after its guest has left, while nothing that was written there is destaged: before
 * the destination owns the volume, or just after. All of it comes from the copy.
 */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 32768

for (const when of ['before', 'after'] as const) t.test(`kill -9 of the source ${when} the destination owns the volume`, { timeout: 110_000 }, async (t) => {
  const work = new Workspace('source')
  t.teardown(() => work.close())
  const image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, {
    image, copies: 1, replicas: { a: ['c'], b: ['c'] }, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
    timing: 'renew = "300ms"\nfail_after = "1s"\ndead_after = "2s"\nquarantine = "1s"\npeer_deadline = "1s"',
  })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), load = new VerifiedLoad({ sectors: SECTORS })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(600)
  await load.leave()
  t.equal((await a.volume('db01')).base, 0, 'nothing is on the backing')

  if (when === 'before') await a.kill9()
  await load.attach(cluster.socket('b'))
  await until('b to serve', 20_000, async () => (await b.volume('db01')).phase === 'serving')
  if (when === 'after') await a.kill9()
  const { inherited } = await b.volume('db01')
  t.same(inherited.map(({ holders }) => holders.includes('c')), [true], `inherited from {${inherited[0]?.holders.join(', ')}}`)
  await load.verify()
  load.run()
  await load.more(300)
  await load.pause()
  await load.verify()
  const { counters, owner } = await b.volume('db01')
  t.ok(owner === 'b' && (counters.remoteReadsByHost['c'] ?? 0) > 0, `${counters.remoteReadsByHost['c']} reads of what the source left came from c`)
  await endOfLoad(t, load, b, image)
})
