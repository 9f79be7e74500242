/** The image grows under a running guest: the claim, the guest and the next host all learn of it. */
import { spawnSync } from 'node:child_process'
import { truncateSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HOLDFAST, type LabHost } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const MIB = 1024 * 1024

const TASK = `
fio --name=v --filename=/dev/vda --rw=randwrite --bs=4k --size=5m --direct=1 --ioengine=psync --verify=crc32c --verify_fatal=1 \\
  --minimal > /tmp/fio.out 2>&1 && echo FIO-OK || { echo FIO-FAILED; tail -n 5 /tmp/fio.out; } &
echo "SIZE $(cat /sys/block/vda/size)"
n=0; while [ $(cat /sys/block/vda/size) = 65536 ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
echo "SIZE $(cat /sys/block/vda/size)"
wait
stamper /dev/vda 3 0 20 196608 && dd if=/dev/vda of=/dev/null bs=1M skip=90 2>/dev/null && echo END-READ
echo TASK-DONE`

const resize = (host: LabHost): ReturnType<typeof spawnSync> =>
  spawnSync(HOLDFAST, ['volume', 'resize', 'db01', '--control', host.controlPath, '--json'], { encoding: 'utf8' })

t.test('a disk grows while its guest writes', { skip: requires('qemu-system-x86_64', 'guest-fio'), timeout: 90_000 }, async (t) => {
  const work = new Workspace('grow')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 32 * MIB)
  const cluster = await LabCluster.create(work, { image, hosts: ['a', 'b'], copies: 1, regionSize: '256MiB' })
  await cluster.start()
  const a = cluster.host('a')
  const guest = new Guest(work, { name: 'vm', socket: cluster.socket('a'), task: TASK, limitSeconds: 80, memory: '384M', initrd: 'guest-fio' })
  await guest.waitFor(/^SIZE 65536$/m, 50_000)
  truncateSync(`${image}.holdfast`, 96 * MIB)
  const grown = resize(a)
  t.equal(grown.status, 0, String(grown.stderr))
  t.same(JSON.parse(String(grown.stdout)), { volume: 'db01', beforeBytes: 32 * MIB, afterBytes: 96 * MIB })
  await guest.waitFor(/^SIZE 196608$/m, 20_000)
  t.pass('the running guest sees it')
  await guest.waitFor(/TASK-DONE/, 40_000)
  t.match(guest.serial, /^FIO-OK$/m, 'fio verified what it wrote meanwhile')
  t.match(guest.serial, /^STAMPED 20\nEND-READ$/m, 'the new part takes writes and is read to its end')
  await guest.waitExit(10_000)

  t.equal(JSON.parse(String(resize(a).stdout)).beforeBytes, 96 * MIB, 'a second time changes nothing')
  // What is still dirty would make the file longer again.
  await a.control.flush('db01', null, () => undefined)
  truncateSync(`${image}.holdfast`, 64 * MIB)
  const shrunk = resize(a)
  t.equal(shrunk.status, 75)
  t.match(String(shrunk.stderr), /has 67108864 bytes, less than the 100663296 that the guest uses/)
  truncateSync(`${image}.holdfast`, 96 * MIB)

  const elsewhere = resize(cluster.host('b'))
  t.equal(elsewhere.status, 75, 'only the owner resizes')
  t.match(String(elsewhere.stderr), /is not served by this host/)
  const client = await VhostClient.connect(cluster.socket('b'))
  t.equal(await client.submit({ kind: 'read', lbaSectors: 190000, lengthSectors: 8, bufferOffset: 0 }), 0, 'the host that takes over knows the new size')
  t.match(await cluster.host('b').volume('db01'), { phase: 'serving', owner: 'b', capacityBytes: 96 * MIB })
  await client.close()
})
