/** Two copies on two other hosts: the owner dies under load, then the next one. The third has everything acknowledged. */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { endOfLoad } from './end-of-load.js'

const SECTORS = 32768

for (const [what, quarantine] of [['before it could destage anything', '30s'], ['when it had gone on in write-through', '1s']] as const) {
  t.test(`the second host dies ${what}`, { timeout: 110_000 }, async (t) => {
    const work = new Workspace('two')
    t.teardown(() => work.close())
    const image = work.image('db01.raw', SECTORS * 512)
    const cluster = await LabCluster.create(work, {
      image, copies: 2, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
      timing: `renew = "300ms"\nfail_after = "1s"\ndead_after = "2s"\nquarantine = "${quarantine}"\npeer_deadline = "1s"`,
    })
    await cluster.start()
    const load = new VerifiedLoad({ sectors: SECTORS })
    await load.attach(cluster.socket('a'))
    load.run()
    await load.more(600)
    await Promise.all([cluster.host('a').kill9(), load.die()])

    const b = cluster.host('b'), c = cluster.host('c')
    await load.attach(cluster.socket('b'))
    load.run()
    await until('b to serve', 20_000, async () => (await b.volume('db01')).phase === 'serving')
    if (quarantine === '1s') {
      await until('write-through', 20_000, async () => (await b.volume('db01')).policy.effective === 'write-through')
      await load.more(300)
    } else {
      await until('acks to wait', 10_000, async () => (await b.volume('db01')).policy.effective === 'draining to write-through')
      t.match(await b.volume('db01'), { quarantine: true, base: 0, set: ['b', 'c'] }, 'b has not enough copies, may not destage yet, and keeps c in the set')
    }
    await Promise.all([b.kill9(), load.die()])

    await load.attach(cluster.socket('c'))
    await until('c to serve', 20_000, async () => (await c.volume('db01')).phase === 'serving')
    await load.verify()
    t.same(load.wrong.slice(0, 5), [], `${load.writes} acknowledged writes, read from c alone`)
    if (quarantine === '1s') {
      load.run()
      await load.more(300)
      await endOfLoad(t, load, c, image)
    }
  })
}
