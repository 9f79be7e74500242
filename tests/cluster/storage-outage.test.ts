/**
 * The shared storage, image and claims, answers nobody for a while, under load, with a copy on one other host: commits go
 * on from the logs. OUTAGE_SECONDS sets how long.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HostStorage } from '../../fixtures/lab/host-storage.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const OUTAGE_SECONDS = Number(process.env['OUTAGE_SECONDS'] ?? 15)
const SECTORS = 32768
const STEP_MS = 1000

t.test(`no storage for ${OUTAGE_SECONDS} s`, { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse'), timeout: 45_000 + OUTAGE_SECONDS * 1500 }, async (t) => {
  const work = new Workspace('outage')
  t.teardown(() => work.close())
  const storage = new HostStorage(work), hosts = ['a', 'b']
  await storage.start(SECTORS * 512, hosts)
  const cluster = await LabCluster.create(work, {
    hosts, image: (host) => storage.image(host), volume: (host) => `${storage.volume(host)}destage_delay = "50ms"\nlimit_iops = 400\n`, copies: 1,
    regionSize: `${Math.max(256, OUTAGE_SECONDS * 16)}MiB`, timing: 'renew = "500ms"\nfail_after = "2s"\ndead_after = "4s"\nquarantine = "3s"\npeer_deadline = "2s"',
  })
  await cluster.start()
  const a = cluster.host('a'), load = new VerifiedLoad({ sectors: SECTORS, reads: 0, flushes: 3 })
  await load.attach(cluster.socket('a'))
  load.run()
  await until('something on the backing', 20_000, async () => (await a.volume('db01')).base > 0)
  load.longestMs = 0

  storage.hang(...hosts)
  const began = performance.now(), before = { writes: load.writes, flushes: load.flushes }
  let quietSteps = 0
  while (performance.now() - began < OUTAGE_SECONDS * 1000) {
    const { writes, flushes } = load
    await sleep(STEP_MS)
    if (load.writes === writes || load.flushes === flushes) quietSteps++
  }
  const volume = await a.volume('db01')
  // What was asked for while the storage is away must end while it is away.
  void load.pause()
  await until('an answer to every request', 10_000, () => load.underWay === 0)
  const { longestMs } = load
  storage.resume(...hosts)

  t.match(volume, { phase: 'serving', owner: 'a', set: ['a', 'b'], policy: { effective: 'write-back, 1 copy', reason: null }, counters: { guestErrors: 0 } })
  t.ok(volume.base < volume.acked && volume.dirtyBytes > 0, `${Math.round(volume.dirtyBytes / 2 ** 20)} MiB dirty at the end`)
  t.equal(quietSteps, 0, `${load.writes - before.writes} writes and ${load.flushes - before.flushes} flushes, some in every second`)
  t.comment(`the longest took ${longestMs.toFixed(0)} ms`)
  load.run()
  await load.more(300)
  await until('the backing to catch up', 30_000, async () => (await a.volume('db01')).base >= volume.acked)
  await load.pause()
  await load.verify()
  await load.leave()
  t.equal(await a.stop(), 0, 'a drains and stops')
  load.checkImage(readFileSync(storage.base))
  t.same(load.wrong.slice(0, 5), [], `${load.done} requests, none failed`)
})
