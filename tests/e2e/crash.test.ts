/** The daemon dies under a guest that writes: QEMU reconnects, nothing acknowledged is lost. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { writePartitions } from '../../fixtures/lab/partitions.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

const RAW = { startSector: 2048, sectors: 16384 }, FS = { startSector: 18432, sectors: 131072 }
const CRASHES = 3

const TASK = `
/bin/mke2fs -q -t ext4 /dev/vda2 && mount -t ext4 /dev/vda2 /mnt || exit 1
( read word < /dev/console; touch /tmp/stop ) &
( i=0; while [ ! -e /tmp/stop ]; do stamper /dev/vda1 5 $i 40 ${RAW.sectors} discard >/dev/null && i=$((i+40)) || echo STAMP-ERROR; done
  stamper --verify /dev/vda1 5 0 $i ${RAW.sectors} discard; touch /tmp/verified ) &
commits /mnt/log 5 | tee /tmp/commits
while [ ! -e /tmp/verified ]; do sleep 0.1; done
echo 3 > /proc/sys/vm/drop_caches
commits --verify /mnt/log 5 $(tail -n 1 /tmp/commits | cut -d' ' -f2)
umount /mnt; echo TASK-DONE`

t.test('kill -9 of the daemon under a writing guest, again and again', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 110_000 }, async (t) => {
  const work = new Workspace('crash')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', (FS.startSector + FS.sectors) * 512)
  writePartitions(image, [RAW, FS])
  const args = ['--socket-path', work.file('v.sock'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '256MiB', '--quarantine', '500ms']
  let daemon = await startBlk(work, 'blk', args)
  const guest = new Guest(work, { name: 'vm', socket: work.file('v.sock'), task: TASK, limitSeconds: 100, memory: '256M' })
  await guest.waitFor(/^C \d+ [\s\S]*^C \d+ /m, 40_000)
  for (let i = 0; i < CRASHES; i++) {
    await daemon.kill9()
    const before = guest.serial.length
    daemon = await startBlk(work, `blk-${i}`, args)
    await guest.waitFor(new RegExp(`^[\\s\\S]{${before}}[\\s\\S]*^C \\d+ [\\s\\S]*^C \\d+ `, 'm'), 20_000)
    await sleep(300 + 200 * i)
  }
  await guest.say('stop')
  await guest.waitFor(/TASK-DONE/, 40_000)
  const commits = Number([...guest.serial.matchAll(/^C (\d+) /gm)].at(-1)?.[1])
  t.match(guest.serial, new RegExp(`^VERIFY ${commits} of ${commits}$`, 'm'), `${commits} commits over ${CRASHES} crashes are all there`)
  t.match(guest.serial, /^STAMPS bad=0 of/m, 'and so are writes and discards at any sector')
  t.notMatch(guest.serial, /STAMP-ERROR|I\/O error/, 'the guest saw no error')
  t.match(daemon.output, /serving epoch \d/, 'the last daemon took its own log over')
})
