/** A host with a copy dies, the others go on without it, and it comes back with what it had: that counts for nothing. */
import t, { type Test } from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 32768

async function withoutC(t: Test): Promise<{ cluster: LabCluster; load: VerifiedLoad; image: string }> {
  const work = new Workspace('stale')
  t.teardown(() => work.close())
  const image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, {
    image, copies: 1, replicas: { a: ['c', 'b'], b: ['a', 'c'], c: ['a', 'b'] }, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
    timing: 'renew = "300ms"\nfail_after = "1s"\ndead_after = "2s"\nquarantine = "1s"\npeer_deadline = "1s"',
  })
  await cluster.start()
  const load = new VerifiedLoad({ sectors: SECTORS })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(400)
  const a = cluster.host('a')
  t.same((await a.volume('db01')).set, ['a', 'c'])
  await cluster.host('c').kill9()
  await until('b to stand in', 20_000, async () => (await a.volume('db01')).set.join() === 'a,b')
  await load.more(400)
  return { cluster, load, image }
}

const oldLogs = async (cluster: LabCluster): Promise<number> => (await cluster.host('c').status()).replicas.filter((log) => log.epoch === 1).length

t.test('it comes back to an owner that runs: deletes, joins again, and takes over with what it has then', { timeout: 110_000 }, async (t) => {
  const { cluster, load, image } = await withoutC(t)
  const c = cluster.host('c')
  await c.start()
  await cluster.connected('a', 'c')
  await until('c to give up its old log', 10_000, async () => await oldLogs(cluster) === 0)
  t.match(await c.volume('db01'), { phase: 'standby', owner: 'a' })

  await cluster.host('b').kill9()
  await until('c to be a member', 20_000, async () => (await cluster.host('a').volume('db01')).set.join() === 'a,c')
  await load.more(400)
  // One copy stands the loss of one host at a time: what b and a had before is copied to c first, or destaged.
  await until('c to have everything', 30_000, async () => (await cluster.host('a').volume('db01')).inherited.every((log) => log.holders.includes('c')))
  await Promise.all([cluster.host('a').kill9(), load.die()])
  await load.attach(cluster.socket('c'))
  await until('c to serve', 20_000, async () => (await c.volume('db01')).phase === 'serving')
  await load.verify()
  t.same(load.wrong.slice(0, 5), [], `${load.writes} acknowledged writes, read from the host that was away`)
  await cluster.host('b').start()
  load.run()
  await load.more(300)
  await endOfLoad(t, load, c, image)
})

t.test('it comes back alone: it serves nothing until a member is there', { timeout: 110_000 }, async (t) => {
  const { cluster, load } = await withoutC(t)
  await Promise.all([cluster.host('a').kill9(), cluster.host('b').kill9(), load.die()])
  const c = cluster.host('c')
  await c.start()
  t.equal(await oldLogs(cluster), 0, 'it reads in the claim that its log counts no more')
  const before = load.done
  await load.attach(cluster.socket('c'))
  load.run()
  await until('c to say what it waits for', 20_000, async () => /no member of the set \{a, b\} can be reached/.test((await c.volume('db01')).reason ?? ''))
  await sleep(1000)
  t.equal(load.done, before, 'nothing is answered, and nothing ends with an error')
  await cluster.host('b').start()
  await load.more(300)
  await load.pause()
  await load.verify()
  t.match(await c.volume('db01'), { phase: 'serving', owner: 'c' }, 'served from what b has')
  t.same(load.wrong.slice(0, 5), [], `${load.writes} acknowledged writes`)
})
