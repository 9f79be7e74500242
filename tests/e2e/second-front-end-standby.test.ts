/** A second front end on a socket in use: it is answered, waits with its requests, and goes on when the first has left. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

const PATTERN = 'standby!'
const TASK = `
dd if=/dev/vda of=/tmp/before bs=4096 count=1 2>/dev/null
echo TASK-READY
read word < /dev/console
i=0; while [ $i -lt 512 ]; do echo -n '${PATTERN}'; i=$((i+1)); done > /tmp/page
dd if=/tmp/page of=/dev/vda bs=4096 count=1 conv=fsync 2>/dev/null
echo TASK-DONE`

const skip = requires('qemu-system-x86_64', 'guest')

t.test('a client waits for the guest and then reads what the guest wrote', { skip, timeout: 40_000 }, async (t) => {
  const work = new Workspace('second')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024), socket = work.file('v.sock')
  const daemon = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB'])
  const guest = new Guest(work, { name: 'vm', socket, task: TASK, limitSeconds: 38, memory: '256M' })
  await guest.waitFor(/TASK-READY/, 25_000)

  const second = await VhostClient.connect(socket)
  t.equal(second.capacitySectors, 64 * 2048, 'the second front end gets its handshake and the config space')
  let status = -1
  const read = second.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }).then((result) => { status = result })
  await sleep(500)
  t.equal(status, -1, 'its request waits while the guest uses the volume')
  t.match(daemon.output, /waits for .*which still uses the volume/, 'and the daemon says so')

  await guest.say('write')
  await guest.waitFor(/TASK-DONE/, 10_000)
  await guest.waitExit(10_000)
  await read
  t.equal(status, 0, 'served when the guest had gone')
  t.equal(Buffer.from(second.buffer.subarray(0, 4096)).toString(), PATTERN.repeat(512), 'it reads what the guest wrote last')
  t.equal(await second.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 8192 }), 0)
  await second.close()
  t.notMatch(guest.serial, /I\/O error/)
})
