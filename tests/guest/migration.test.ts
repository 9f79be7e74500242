/** Live migration between two QEMUs, on two of QEMU's own back ends over one image. */
import t from 'tap'
import { Guest } from '../../fixtures/lab/guest.js'
import { COMMIT_UNTIL_TOLD } from '../../fixtures/lab/guest-tasks.js'
import { startQsd } from '../../fixtures/lab/qsd.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

t.test('a committing guest migrates and loses nothing', { skip: requires('qemu-system-x86_64', 'qemu-storage-daemon', 'guest'), timeout: 90_000 }, async (t) => {
  const work = new Workspace('mig')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024)
  await Promise.all([startQsd(work, 'qsd-a', image, work.file('a.sock')), startQsd(work, 'qsd-b', image, work.file('b.sock'))])
  const options = { task: COMMIT_UNTIL_TOLD, limitSeconds: 80, memory: '256M' } as const
  const a = new Guest(work, { ...options, name: 'a', socket: work.file('a.sock') })
  const b = new Guest(work, { ...options, name: 'b', socket: work.file('b.sock'), incoming: true })
  await a.waitFor(/^C \d+ /m, 40_000)
  const migration = await a.migrateTo(b, work)
  t.ok(migration.stopToResumeMs > 0 && migration.totalMs > 0, 'the pause was measured')
  await b.waitFor(/^C \d+ [\s\S]*^C \d+ /m, 20_000)
  await a.kill9()
  t.equal(a.exit, 'SIGKILL', 'the source is gone')
  await b.say('stop')
  await b.waitFor(/TASK-DONE/, 30_000)
  const before = Number([...a.serial.matchAll(/^C (\d+) /gm)].at(-1)?.[1]), after = Number([...b.serial.matchAll(/^C (\d+) /gm)].at(-1)?.[1])
  t.ok(after > before, 'the same writer went on at the destination')
  t.match(b.serial, new RegExp(`^VERIFY ${after} of ${after}$`, 'm'), 'every commit, before and after, is there')
  const gaps = [...b.serial.matchAll(/^C (?:\d+ ){4}(\d+) 0$/gm)].map((m) => Number(m[1]))
  t.ok(Math.max(...gaps) > 0, 'the guest tells its largest gap')
  t.comment(`STOP to RESUME ${migration.stopToResumeMs.toFixed(0)} ms, largest gap in the guest ${(Math.max(...gaps) / 1000).toFixed(0)} ms`)
})

t.test('a task that Linux would cut off is refused', async (t) => {
  const work = new Workspace('task')
  t.teardown(() => work.close())
  t.throws(() => new Guest(work, { name: 'x', task: 'echo x\n'.repeat(300) }), /does not fit on the kernel command line/)
})
