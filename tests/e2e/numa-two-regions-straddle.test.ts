/** A guest with two NUMA nodes has its memory in two files; buffers lie in either, and over the border between them. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

// Large buffers, so that pages of both nodes are in one request.
const TASK = `
echo "NODES $(ls -d /sys/devices/system/node/node[0-9]* | wc -l)"
stamper /dev/vda 4 0 150 65536 discard && stamper --verify /dev/vda 4 0 150 65536 discard
mount -o remount,size=80% /tmp
dd if=/dev/urandom of=/tmp/a bs=1M count=120 2>/dev/null
dd if=/tmp/a of=/dev/vda bs=30M count=4 oflag=direct 2>/dev/null
dd if=/dev/vda of=/tmp/b bs=30M count=4 iflag=direct 2>/dev/null
cmp /tmp/a /tmp/b && echo SAME
echo TASK-DONE`

t.test('numa-two-regions-straddle', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 80_000 }, async (t) => {
  const work = new Workspace('numa')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 128 * 1024 * 1024)
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '512MiB'])
  const guest = new Guest(work, {
    name: 'vm', task: TASK, limitSeconds: 70, memory: '512M', cpus: 2,
    drives: [
      '-object', 'memory-backend-memfd,id=m0,size=256M,share=on', '-object', 'memory-backend-memfd,id=m1,size=262152K,share=on',
      '-numa', 'node,nodeid=0,cpus=0,memdev=m0', '-numa', 'node,nodeid=1,cpus=1,memdev=m1',
      '-chardev', `socket,id=c0,path=${work.file('s')}`, '-device', 'vhost-user-blk-pci,chardev=c0,num-queues=2',
    ],
  })
  await guest.waitFor(/TASK-DONE/, 65_000)
  t.match(guest.serial, /^NODES 2$/m)
  t.match(guest.serial, /^STAMPS bad=0 of/m)
  t.match(guest.serial, /^SAME$/m, 'requests with buffers all over both nodes')
})
