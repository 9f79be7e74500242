/** Hosts that run and cannot talk to each other, in both directions or in one: the owner goes on with whom it reaches. */
import { rmSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { LinkMesh } from '../../fixtures/lab/link-proxy.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 32768
const TIMING = 'renew = "300ms"\nfail_after = "1500ms"\ndead_after = "3s"\npeer_deadline = "1s"\n'

const setIs = (host: LabHost, mode: string, ...members: readonly string[]): Promise<unknown> => until(`${mode} with {${members.join(', ')}}`, 20_000, async () => {
  const volume = await host.volume('db01')
  return volume.policy.effective.startsWith(mode) && volume.set.join() === members.join()
})

interface Running { readonly cluster: LabCluster; readonly image: string; readonly load: VerifiedLoad }

async function threeHosts(work: Workspace, links: LinkMesh, reads: number, extra = ''): Promise<Running> {
  const image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, {
    image, links, copies: 1, replicas: { a: ['b', 'c'] }, regionSize: '128MiB', timing: `${TIMING}quarantine = "1500ms"`, volume: 'destage_delay = "10m"\n', extra,
  })
  await cluster.start()
  const load = new VerifiedLoad({ sectors: SECTORS, reads })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(300)
  return { cluster, image, load }
}

/** Everything comes to the image, and is there. */
async function endOn(t: Test, cluster: LabCluster, load: VerifiedLoad, image: string): Promise<void> {
  await load.pause()
  await load.verify()
  await endOfLoad(t, load, cluster.host('a'), image)
}

t.test('an owner that loses its peers one after the other goes on without them, and with them when they are back', { timeout: 110_000 }, async (t) => {
  const work = new Workspace('part')
  t.teardown(() => work.close())
  const links = new LinkMesh(work), errors = work.file('fails')
  const { cluster, image, load } = await threeHosts(work, links, 0, `[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nerror_rate = 1\nerror_file = "${errors}"\n`)
  const a = cluster.host('a')
  t.same((await a.volume('db01')).set, ['a', 'b'])

  links.cut('a', 'b')
  await setIs(a, 'write-back, 1', 'a', 'c')
  await load.more(300)
  t.pass('without b: the copies are on c')

  // The backing refuses meanwhile, so that the time between the two modes lasts.
  writeFileSync(errors, '')
  links.cut('a', 'c')
  await setIs(a, 'draining to write-through', 'a')
  t.match((await a.volume('db01')).policy.reason, /0 of 1 copies: b, c not reachable/, 'and it says why')
  await sleep(100)
  const { writes } = load
  await sleep(1500)
  t.equal(load.writes, writes, 'no write is acknowledged while there is one copy and the mode is write-back')
  rmSync(errors)
  await setIs(a, 'write-through', 'a')
  await load.more(300)
  t.equal((await a.volume('db01')).policy.requested, 'write-back, 1 copy', 'without anybody: in write-through')

  // Not before the connections have died: one that lasts is not believed for 30 s.
  await Promise.all([cluster.connected('a', 'b', false), cluster.connected('a', 'c', false)])
  links.heal('a', 'b')
  links.heal('a', 'c')
  await until('a copy again', 20_000, async () => (await a.volume('db01')).set.length === 2)
  await load.more(300)
  await endOn(t, cluster, load, image)
})

for (const [from, to] of [['a', 'b'], ['b', 'a']] as const) t.test(`nothing that ${from} sends reaches ${to}, and the other way goes on`, { timeout: 110_000 }, async (t) => {
  const work = new Workspace('oneway')
  t.teardown(() => work.close())
  const links = new LinkMesh(work)
  const { cluster, image, load } = await threeHosts(work, links, 3)
  const a = cluster.host('a')
  links.cutOneWay(from, to)
  await setIs(a, 'write-back, 1', 'a', 'c')
  await load.more(300)
  await cluster.connected('a', 'b', false)
  links.heal('a', 'b')
  await cluster.connected('a', 'b')
  links.cut('a', 'c')
  await setIs(a, 'write-back, 1', 'a', 'b')
  await load.more(300)
  t.pass('the copies went to c, and back to b when it could be heard again')
  await endOn(t, cluster, load, image)
})

t.test('connections that are slow, and break again and again', { timeout: 110_000 }, async (t) => {
  const work = new Workspace('flaky')
  t.teardown(() => work.close())
  const links = new LinkMesh(work)
  const { cluster, image, load } = await threeHosts(work, links, 3)
  links.delay('a', 'b', 5)
  links.delay('a', 'c', 5)
  for (let i = 0; i < 8; i++) {
    await load.more(50)
    links.drop('a', i % 4 === 3 ? 'c' : 'b')
  }
  links.delay('a', 'b', 0)
  links.delay('a', 'c', 0)
  await load.more(300)
  t.equal((await cluster.host('a').volume('db01')).owner, 'a')
  await endOn(t, cluster, load, image)
})
