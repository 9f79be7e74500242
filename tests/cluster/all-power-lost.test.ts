/**
 * All hosts die at once under load, and come back in every order, or before the storage does. The guest is started on the
 * first one: it waits, with a reason, until somebody is there who has everything acknowledged, and finds all of it.
 */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HOLDFAST, type LabHost } from '../../fixtures/lab/daemon.js'
import { HostStorage } from '../../fixtures/lab/host-storage.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 16384
const TIMING = 'renew = "200ms"\nfail_after = "500ms"\ndead_after = "1s"\nquarantine = "500ms"\npeer_deadline = "1s"'
/** By what they were when they died: the owner, the host with its copy, the third one. */
const ORDERS = ['ocx', 'oxc', 'cox', 'cxo', 'xoc', 'xco']

type Role = 'o' | 'c' | 'x'

async function rolesIn(cluster: LabCluster): Promise<Record<Role, string>> {
  return until('an owner with a copy elsewhere', 20_000, async () => {
    const volumes = await Promise.all([...cluster.hosts.values()].map((host) => host.volume('db01')))
    const served = volumes.find(({ phase, set, policy }) => phase === 'serving' && set.length === 2 && policy.reason === null)
    if (served === undefined) return null
    const [o, c] = served.set as [string, string]
    return { o, c, x: [...cluster.hosts.keys()].find((name) => name !== o && name !== c)! }
  })
}

const isServing = (host: LabHost): Promise<unknown> => until(`${host.name} to serve`, 20_000, async () => (await host.volume('db01')).phase === 'serving')

t.test('all three hosts are killed at once, and started in every order', { timeout: 110_000 }, async (t) => {
  const work = new Workspace('dark')
  t.teardown(() => work.close())
  const image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, {
    image, copies: 1, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
    timing: TIMING,
  })
  await cluster.start()
  const load = new VerifiedLoad({ sectors: SECTORS })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(500)
  for (const order of ORDERS) {
    const roles = await rolesIn(cluster)
    await Promise.all([...[...cluster.hosts.values()].map((host) => host.kill9()), load.die()])
    const [first, ...others] = [...order].map((role) => cluster.host(roles[role as Role]))
    await first!.start()
    await load.attach(cluster.socket(first!.name))
    if (order.startsWith('x')) {
      const said = new RegExp(`no member of the set \\{${roles.o}, ${roles.c}\\} can be reached`)
      await until('a reason to wait', 10_000, async () => said.test((await first!.volume('db01')).reason ?? ''))
    } else await isServing(first!)
    t.pass(order.startsWith('x') ? 'the third host waits for one that has everything, and says so' : 'a host that has everything waits for nobody but a dead owner')
    for (const host of others) await host.start()
    await isServing(first!)
    await load.verify()
    load.run()
    await load.more(200)
    t.same(load.wrong.slice(0, 5), [], `${order}: ${load.writes} acknowledged writes`)
  }
  await load.leave()
})

t.test('the storage comes back last', { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse'), timeout: 110_000 }, async (t) => {
  const work = new Workspace('dawn')
  t.teardown(() => work.close())
  const storage = new HostStorage(work), hosts = ['a', 'b']
  await storage.start(SECTORS * 512, hosts)
  const cluster = await LabCluster.create(work, {
    hosts, image: (host) => storage.image(host), volume: (host) => `${storage.volume(host)}destage_delay = "10m"\n`, copies: 1, regionSize: '128MiB', timing: TIMING,
  })
  await cluster.start()
  const load = new VerifiedLoad({ sectors: SECTORS })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(500)
  // What waits for a storage that stands still cannot even be killed.
  await Promise.all([cluster.host('a').kill9(), cluster.host('b').kill9(), load.die()])
  storage.hang(...hosts)
  // They are there for each other and for their operators, and say what they wait for.
  await Promise.all(hosts.map((name) => cluster.host(name).start()))
  for (const name of hosts) t.match((await cluster.host(name).status()).waiting, [{ name: 'db01', reason: /did not answer within \d+ ms .*check the shared storage/ }])
  t.match(spawnSync(HOLDFAST, ['status', '--control', cluster.host('a').controlPath], { encoding: 'utf8' }).stdout, /volume db01: WAITS FOR ITS STORAGE, /)
  storage.resume(...hosts)
  await until('both volumes to be started', 30_000, async () => (await Promise.all(hosts.map((name) => cluster.host(name).status()))).every(({ volumes, waiting }) => volumes.length === 1 && waiting.length === 0))
  await load.attach(cluster.socket('b'))
  await isServing(cluster.host('b'))
  await load.verify()
  t.same(load.wrong.slice(0, 5), [], `${load.writes} acknowledged writes`)
  await load.leave()
})
