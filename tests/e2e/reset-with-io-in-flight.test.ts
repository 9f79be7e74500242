/** The machine is reset by force while the guest writes: nothing committed is lost, and the firmware finds its disk again. */
import { truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const RAW_SECTORS = 16384
// The first life makes the file system and writes to both disks' ends; the second is told how many commits there must be.
const TASK = `
if mount -t ext4 /dev/vda /mnt; then
  echo SECOND-LIFE; read n < /dev/console
  commits --verify /mnt/log 9 $n
  stamper /dev/vdb 5 0 100 ${RAW_SECTORS} >/dev/null && stamper --verify /dev/vdb 5 0 100 ${RAW_SECTORS}
  umount /mnt; echo TASK-DONE
else
  /bin/mke2fs -q -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt || exit 1
  ( while true; do dd if=/dev/zero of=/dev/vdb bs=256k count=32 oflag=direct 2>/dev/null; done ) &
  commits /mnt/log 9 0 --acks
fi`

t.test('system_reset under a writing guest', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 60_000 }, async (t) => {
  const work = new Workspace('reset')
  t.teardown(() => work.close())
  const disk = async (name: string, bytes: number): Promise<string> => {
    const image = work.file(`${name}.raw`), socket = work.file(`${name}.sock`)
    writeFileSync(image, '')
    truncateSync(image, bytes)
    const cache = ['--cache', work.file(`${name}.region`), '--cache-size', '64MiB']
    daemons.push(await startBlk(work, name, ['--socket-path', socket, '--blk-file', image, ...cache]))
    return socket
  }
  const daemons: Awaited<ReturnType<typeof startBlk>>[] = []
  const first = await disk('vda', 64 * 1024 * 1024), second = await disk('vdb', RAW_SECTORS * 512)
  const proxy = new VhostProxy({ listen: work.file('p'), target: first })
  work.onClose(() => proxy.close())
  const other = ['-chardev', `socket,id=holdfast1,path=${second},reconnect=1`, '-device', 'vhost-user-blk-pci,chardev=holdfast1,num-queues=1']
  const guest = new Guest(work, { name: 'vm', socket: work.file('p'), task: TASK, limitSeconds: 58, memory: '256M', extra: other })
  await guest.waitFor(/^ACK 100$/m, 30_000)
  const qmp = await guest.qmp()
  // Guests of the lab end at a reboot, as they do when their task is done.
  await qmp.call('set-action', { reboot: 'reset' })
  const stops = proxy.count('getVringBase')
  await qmp.call('system_reset')
  await until('the rings to stop', 5000, () => proxy.count('getVringBase') > stops)
  await guest.waitFor(/SECOND-LIFE/, 30_000)
  const acknowledged = Number([...guest.serial.matchAll(/^ACK (\d+)$/gm)].at(-1)?.[1])
  await guest.say(String(acknowledged))
  await guest.waitFor(/TASK-DONE/, 20_000)
  t.match(guest.serial, new RegExp(`^VERIFY ${acknowledged} of ${acknowledged}$`, 'm'), `${acknowledged} acknowledged commits are there`)
  t.match(guest.serial, /^STAMPS bad=0 of/m, 'the disk whose writes were cut off takes new ones')
  t.notMatch(guest.serial.split('SECOND-LIFE')[1] ?? '', /I\/O error/)
  for (const daemon of daemons) t.notMatch(daemon.output, /is broken|unanswered/)
  t.equal(proxy.connections, 2, 'over one connection, after the one of run-vm')
})
