/** The owner dies with its VM, as a host does; another host serves from its copy, and the dead one comes back. */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HOLDFAST } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const WRITER = '/bin/mke2fs -q -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt || exit 1; commits /mnt/log 11 0 --acks'
const reader = (commits: number): string => `mount -t ext4 /dev/vda /mnt || exit 1; commits --verify /mnt/log 11 ${commits}; umount /mnt; echo TASK-DONE`

t.test('kill -9 of the owner and its VM: every acknowledged commit is on the other host', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 110_000 }, async (t) => {
  const work = new Workspace('heir')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 128 * 1024 * 1024)
  const cluster = await LabCluster.create(work, {
    image, hosts: ['a', 'c'], copies: 1, regionSize: '256MiB', volume: 'destage_delay = "60s"',
    timing: 'renew = "500ms"\nfail_after = "2s"\ndead_after = "4s"\nquarantine = "3s"',
  })
  await cluster.start()
  const a = cluster.host('a'), c = cluster.host('c')
  const writer = new Guest(work, { name: 'vm-a', socket: cluster.socket('a'), task: WRITER, limitSeconds: 60, memory: '256M' })
  await writer.waitFor(/^ACK 500$/m, 50_000)
  await Promise.all([a.kill9(), writer.kill9()])
  const acknowledged = Number([...writer.serial.matchAll(/^ACK (\d+)$/gm)].at(-1)?.[1])

  const heir = new Guest(work, { name: 'vm-c', socket: cluster.socket('c'), task: reader(acknowledged), limitSeconds: 60, memory: '256M' })
  await heir.waitFor(/TASK-DONE|GUEST-DOWN/, 50_000)
  t.match(heir.serial, new RegExp(`^VERIFY ${acknowledged} of ${acknowledged}$`, 'm'), `${acknowledged} acknowledged commits`)
  const served = await c.volume('db01')
  t.match(served, { phase: 'serving', owner: 'c' })
  t.ok(served.epoch >= 2, 'by a claim of its own')

  await a.start()
  await until('a to know that it is not the owner', 15_000, async () => (await a.volume('db01')).owner === 'c')
  t.match(await a.volume('db01'), { phase: 'standby', dirtyBytes: 0 }, 'the dead host came back and follows')
  const flush = spawnSync(HOLDFAST, ['volume', 'flush', 'db01', '--control', c.controlPath, '--json'], { encoding: 'utf8' })
  t.equal(flush.status, 0, flush.stderr)
  t.match(JSON.parse(flush.stdout), { volume: 'db01', base: served.acked }, 'drained to the last record')
  await until('the old log to go', 15_000, async () => (await a.status()).replicas.every((log) => log.epoch > 1))
  t.pass('what a held of its own epoch is given up once it is on the backing')
})
