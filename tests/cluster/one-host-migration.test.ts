/**
 * Migration on one host, where source and destination are on one socket; and what looks like the first half of a
 * migration: a guest that stops, is saved, or starts again where the volume is not any more.
 */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { COMMIT_UNTIL_TOLD } from '../../fixtures/lab/guest-tasks.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VerifiedLoad } from '../../fixtures/lab/verified-load.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

t.test('QEMU migrates to a QEMU on the same socket, and back', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 110_000 }, async (t) => {
  const work = new Workspace('same')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024), socket = work.file('v.sock')
  const daemon = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, '--cache', work.file('region'), '--cache-size', '96MiB'])
  let here = new Guest(work, { name: 'vm-0', socket, task: COMMIT_UNTIL_TOLD, limitSeconds: 105, memory: '256M' })
  await here.waitFor(/^H /m, 30_000)
  for (const hop of [1, 2]) {
    const next = new Guest(work, { name: `vm-${hop}`, socket, task: COMMIT_UNTIL_TOLD, incoming: true, limitSeconds: 100, memory: '256M' })
    const { stopToResumeMs } = await here.migrateTo(next, work)
    await (await here.qmp()).call('quit').catch(() => undefined)
    await next.waitFor(/^H /m, 20_000)
    t.pass(`hop ${hop}: the guest commits on, it stopped for ${stopToResumeMs.toFixed(0)} ms`)
    here = next
  }
  await here.say('stop')
  const [, verified, of] = await here.waitFor(/^VERIFY (\d+) of (\d+)/m, 30_000)
  t.ok(verified === of && Number(of) > 0, `${verified} of ${of} commits`)
  await here.waitFor(/TASK-DONE/, 10_000)
  t.notMatch(here.serial, /I\/O error/)
  t.notMatch(daemon.output, /taken over/, 'the volume has not changed hands')
})

t.test('ownership leaves with a takeover by another host, and with nothing else', { timeout: 110_000 }, async (t) => {
  const work = new Workspace('half')
  t.teardown(() => work.close())
  const image = work.image('db01.raw', 16384 * 512)
  const cluster = await LabCluster.create(work, {
    image, hosts: ['a', 'b'], copies: 1, regionSize: '128MiB', volume: 'destage_delay = "10m"\n',
    timing: 'renew = "300ms"\nfail_after = "1s"\ndead_after = "2s"\nquarantine = "1s"\npeer_deadline = "1s"',
  })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b'), load = new VerifiedLoad({ sectors: 16384 })
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(300)
  const { epoch } = await a.volume('db01')
  await load.leave()
  await sleep(1500)
  t.match(await a.volume('db01'), { phase: 'serving', owner: 'a', epoch }, 'stopped, as for a save: the volume stays where it is')
  await load.attach(cluster.socket('a'))
  load.run()
  await load.more(300)
  t.match(await a.volume('db01'), { phase: 'serving', epoch }, 'and goes on there without a claim change')

  await load.leave()
  await load.attach(cluster.socket('b'))
  load.run()
  await load.more(300)
  t.match(await b.volume('db01'), { phase: 'serving', owner: 'b' })
  const again = new VerifiedLoad({ sectors: 16384, seed: 7 })
  await again.attach(cluster.socket('a'))
  again.run()
  await until('a to say who has the volume', 15_000, async () => /held by b: its guest is running there/.test((await a.volume('db01')).reason ?? ''))
  await sleep(1000)
  t.same([again.done, again.underWay, again.wrong], [0, 8, []], 'the source, started again: answered, nothing is popped, and nothing ends with an error')
  await again.die()
  await load.more(300)
  await load.pause()
  await load.verify()
  await load.leave()
  t.same(load.wrong.slice(0, 5), [], `${load.done} requests`)
})
