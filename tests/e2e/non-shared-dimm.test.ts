/** A module whose memory is not shared: no back end can reach it. Such requests fail, loudly; nothing wrong is stored. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const TASK = `
stamper /dev/vda 4 0 40 16384
n=0; while [ $(awk '/MemTotal/ {print $2}' /proc/meminfo) -lt 400000 ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done
echo PLUGGED
dd if=/dev/zero of=/dev/vda bs=200M count=1 seek=0 oflag=direct 2>&1 | tail -n 1
echo TRIED
dd if=/dev/vda of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null && echo READ-AGAIN
echo TASK-DONE`

t.test('non-shared-dimm', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 80_000 }, async (t) => {
  const work = new Workspace('nshare')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 256 * 1024 * 1024)
  const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '512MiB'])
  const guest = new Guest(work, {
    name: 'vm', socket: work.file('s'), task: TASK, limitSeconds: 70, memory: '256M', append: 'memhp_default_state=online_movable', drives: ['-m', 'slots=2,maxmem=4G'],
  })
  await guest.waitFor(/^STAMPED 40$/m, 40_000)
  const qmp = await guest.qmp()
  await qmp.call('object-add', { 'qom-type': 'memory-backend-ram', id: 'more', size: 512 * 1024 * 1024, share: false })
  await qmp.call('device_add', { driver: 'pc-dimm', id: 'dimm1', memdev: 'more' })
  await guest.waitFor(/TASK-DONE/, 40_000)
  t.match(guest.serial, /^PLUGGED$/m)
  t.match(guest.serial, /I\/O error|Input\/output error/, 'the guest is told that its write failed')
  t.match(daemon.output, /memory that is not shared; is every memory backend of it share=on\?/, 'and the administrator why')
  t.equal(daemon.exit, null)
  t.match(guest.serial, /^TRIED[\s\S]*TASK-DONE/m, 'the guest goes on')
})
