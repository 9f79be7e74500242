/** 8 GiB of guest memory: a region of 6 GiB at 4 GiB, which no single ArrayBuffer of Node 20 can hold. It costs no memory. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

// Fills the page cache beyond the first windows, so that requests name memory above 4 GiB.
const TASK = `
echo "MEMORY $(awk '/MemTotal/ {print $2}' /proc/meminfo)"
echo "CACHE $(cat /sys/block/vda/cache_type)"
stamper /dev/vda 3 0 200 65536 discard && stamper --verify /dev/vda 3 0 200 65536 discard
cat /sys/block/vda/serial; echo
echo TASK-DONE`

t.test('a guest with 8 GiB boots, writes and reads', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 90_000 }, async (t) => {
  const work = new Workspace('big')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024)
  await startBlk(work, 'blk', ['--socket-path', work.file('v.sock'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB'])
  const guest = new Guest(work, { name: 'vm', socket: work.file('v.sock'), task: TASK, limitSeconds: 80, memory: '8G', queues: 2 })
  await guest.waitFor(/TASK-DONE/, 70_000)
  const kib = Number(/^MEMORY (\d+)/m.exec(guest.serial)?.[1])
  t.ok(kib > 7.5 * 1024 * 1024, `${kib} KiB seen by the guest`)
  t.match(guest.serial, /^CACHE write back$/m)
  t.match(guest.serial, /^STAMPS bad=0 of/m)
})
