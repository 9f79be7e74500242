/** The guest and its programs, on QEMU's own back end: what they report must be right before they may judge Holdfast. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { Guest } from '../../fixtures/lab/guest.js'
import { Histogram } from '../../fixtures/lab/histogram.js'
import { extractPartition, writePartitions } from '../../fixtures/lab/partitions.js'
import { startQsd } from '../../fixtures/lab/qsd.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { stampImage } from '../../fixtures/lab/stamp-model.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const RAW = { startSector: 2048, sectors: 16384 }, FS = { startSector: 18432, sectors: 131072 }
const SEED = 99, OPS = 300

const TASK = `
stamper /dev/vda1 ${SEED} 0 100 ${RAW.sectors} discard && stamper /dev/vda1 ${SEED} 100 ${OPS - 100} ${RAW.sectors} discard
stamper --verify /dev/vda1 ${SEED} 0 ${OPS} ${RAW.sectors} discard
/bin/mke2fs -q -t ext4 /dev/vda2 && mount -t ext4 /dev/vda2 /mnt || exit 1
( read word < /dev/console; echo "HEARD $word"; touch /tmp/stop ) &
commits /mnt/log ${SEED} 0 --acks | tee /tmp/commits
commits --verify /mnt/log ${SEED} $(tail -n 1 /tmp/commits | cut -d' ' -f2)
commits --verify /mnt/log ${SEED} $(( $(tail -n 1 /tmp/commits | cut -d' ' -f2) + 3 ))
commits --verify /mnt/log 100 5
umount /mnt; echo TASK-DONE`

t.test('a guest commits, stamps, verifies and tells the truth', { skip: requires('qemu-system-x86_64', 'qemu-storage-daemon', 'qemu-img', 'guest'), timeout: 90_000 }, async (t) => {
  const work = new Workspace('guest')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', (FS.startSector + FS.sectors) * 512)
  writePartitions(image, [RAW, FS])
  await startQsd(work, 'qsd', image, work.file('v.sock'))
  const guest = new Guest(work, { name: 'vm', socket: work.file('v.sock'), task: TASK, limitSeconds: 80, memory: '256M' })
  await guest.waitFor(/^GUEST-UP /m, 30_000)
  await guest.waitFor(/^ACK 20$/m, 30_000)
  await guest.say('enough')
  await guest.waitFor(/TASK-DONE/, 30_000)
  await guest.waitExit(10_000)
  const serial = guest.serial

  t.match(serial, /^HEARD enough$/m, 'the task reads the console')
  t.match(serial, new RegExp(`^STAMPS bad=0 of ${RAW.sectors}$`, 'm'), 'the raw partition holds what the stamper wrote')
  const commits = Number([...serial.matchAll(/^C (\d+) /gm)].at(-1)?.[1])
  t.ok(commits >= 20, 'a commit line')
  t.equal([...serial.matchAll(/^ACK (\d+)$/gm)].at(-1)?.[1], String(commits), 'the acknowledgement trail ends where the count does')
  t.equal(Histogram.fromConsole(serial).total, commits, 'every commit is in the histogram')
  t.match(serial, new RegExp(`^VERIFY ${commits} of ${commits}$`, 'm'), 'everything acknowledged is read back')
  t.match(serial, new RegExp(`^VERIFY ${commits} of ${commits + 3} LOST 3 first ${commits}$`, 'm'), 'entries that were never written are reported lost')
  t.match(serial, /^VERIFY 0 of 5 LOST 5 first 0$/m, 'entries of another seed are reported lost')

  const raw = work.file('raw.part'), model = work.file('raw.model')
  extractPartition(image, RAW, raw)
  writeFileSync(model, stampImage(SEED, OPS, RAW.sectors, true))
  t.equal(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, model]).status, 0, 'the host builds the same image from the seed')
  writeFileSync(model, stampImage(SEED, OPS - 1, RAW.sectors, true))
  t.equal(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, model]).status, 1, 'one write less is a difference')
})
