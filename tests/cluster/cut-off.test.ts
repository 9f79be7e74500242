/**
 * The owner runs and reaches nobody, neither its peers nor the storage, while its guest goes on asking. Another host takes
 * over; from then on the old one answers nothing, not even a read that the storage answers late.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HostStorage } from '../../fixtures/lab/host-storage.js'
import { LinkMesh } from '../../fixtures/lab/link-proxy.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 32768
const TIMING = 'renew = "300ms"\nfail_after = "1500ms"\ndead_after = "3s"\npeer_deadline = "1s"\nquarantine = "8s"\n'

t.test('cut off from everybody the owner stops; another host goes on; when the owner is back it follows', {
  skip: requires('nbdkit', 'nbdfuse', '/dev/fuse'), timeout: 110_000,
}, async (t) => {
  const work = new Workspace('cutoff')
  t.teardown(() => work.close())
  const links = new LinkMesh(work), storage = new HostStorage(work)
  await storage.start(SECTORS * 512, ['a', 'b', 'c'])
  const cluster = await LabCluster.create(work, {
    image: (host) => storage.image(host), volume: (host) => `${storage.volume(host)}destage_delay = "20ms"\n`, links, copies: 1, replicas: { a: ['b', 'c'], b: ['c', 'a'] },
    regionSize: '128MiB', timing: TIMING,
  })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), load = new VerifiedLoad({ sectors: SECTORS })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(500)

  storage.hang('a')
  links.cut('a', 'b')
  links.cut('a', 'c')
  await until('a to stop', 20_000, async () => (await a.volume('db01')).policy.effective === 'stopped')
  t.match((await a.volume('db01')).policy.reason, /cannot be renewed/, 'a stops: it cannot know who has the volume')
  const endOld = load.leaveBehind()
  await load.attach(cluster.socket('b'))
  load.run()
  await load.more(300, 30_000)
  t.match(await b.volume('db01'), { phase: 'serving', owner: 'b', quarantine: true }, 'b serves from its copy')

  storage.resume('a')
  links.heal('a', 'b')
  links.heal('a', 'c')
  await until('a to follow', 20_000, async () => (await a.volume('db01')).owner === 'b')
  t.match(await a.volume('db01'), { phase: 'standby', reason: /taken over by b|owned by b/ }, 'what a had on its way landed late, and a says who has the volume')
  await load.more(300)
  await until('the end of quarantine', 30_000, async () => !(await b.volume('db01')).quarantine)
  await until('a to give up what it held of its own epoch', 20_000, async () => (await a.status()).replicas.every((log) => log.epoch > 1))
  endOld()
  await load.pause()
  await load.verify()
  await load.leave()
  t.equal(await b.stop(), 0, 'b drains and stops')
  load.checkImage(readFileSync(storage.base))
  t.same(load.wrong.slice(0, 5), [], `${load.done} requests, the longest took ${Math.round(load.longestMs)} ms`)
})
