/** A disk comes and goes under a running guest, and memory comes and goes while its rings run. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { MEMORY_ON_PCI, memoryComesAndGoes } from '../../fixtures/lab/guest-tasks.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 65536
const WAIT = (what: string): string => `n=0; while ${what} && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done`

function newImage(work: Workspace, name: string): string {
  return work.image(name, SECTORS * 512)
}

const PLUG = `
echo READY
${WAIT('[ ! -e /dev/vda ]')}
stamper /dev/vda 4 0 60 ${SECTORS} discard && stamper --verify /dev/vda 4 0 60 ${SECTORS} discard
echo USED
${WAIT('[ -e /dev/vda ]')}
[ -e /dev/vda ] || echo GONE
${WAIT('[ ! -e /dev/vda ]')}
stamper --verify /dev/vda 4 0 60 ${SECTORS} discard
echo TASK-DONE`

t.test('a disk is plugged in, used, pulled out and plugged in again', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 100_000 }, async (t) => {
  const work = new Workspace('plug')
  t.teardown(() => work.close())
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', newImage(work, 'disk.raw'), '--cache', work.file('region'), '--cache-size', '128MiB'])
  const guest = new Guest(work, {
    name: 'vm', task: PLUG, limitSeconds: 90, memory: '256M',
    drives: ['-device', 'pcie-root-port,id=port1,chassis=1,slot=1', '-object', 'memory-backend-memfd,id=shared,size=262152K,share=on', '-machine', 'memory-backend=shared'],
  })
  await guest.waitFor(/^READY/m, 40_000)
  const qmp = await guest.qmp()
  const plug = async (id: string): Promise<void> => {
    await qmp.call('chardev-add', { id: `c-${id}`, backend: { type: 'socket', data: { addr: { type: 'unix', data: { path: work.file('s') } }, server: false } } })
    await qmp.call('device_add', { driver: 'vhost-user-blk-pci', id, bus: 'port1', chardev: `c-${id}` })
  }
  await plug('first')
  await guest.waitFor(/^USED/m, 40_000)
  await qmp.call('device_del', { id: 'first' })
  await guest.waitFor(/^GONE/m, 30_000)
  await until('the chardev to be free', 10_000, () => qmp.call('chardev-remove', { id: 'c-first' }).then(() => true, () => false))
  await plug('second')
  await guest.waitFor(/TASK-DONE/, 40_000)
  t.same([...guest.serial.matchAll(/^STAMPS bad=(\d+)/gm)].map((m) => m[1]), ['0', '0'], 'verified before it went and after it came back')
})

const GROW = `
stamper /dev/vda 4 0 40 ${SECTORS}
echo "MEMORY $(awk '/MemTotal/ {print $2}' /proc/meminfo)"
( while [ ! -e /tmp/stop ]; do stamper /dev/vda 4 40 80 ${SECTORS} >/dev/null || echo STAMP-ERROR; done; touch /tmp/stopped ) &
${WAIT('[ $(awk \'/MemTotal/ {print $2}\' /proc/meminfo) -lt 400000 ]')}
echo "MEMORY $(awk '/MemTotal/ {print $2}' /proc/meminfo)"
mount -o remount,size=450m /tmp; dd if=/dev/zero of=/tmp/fill bs=1M count=300 2>/dev/null && dd if=/tmp/fill of=/dev/vda bs=1M count=16 seek=16 oflag=direct 2>/dev/null && echo FILLED
rm /tmp/fill; touch /tmp/stop
${WAIT('[ ! -e /tmp/stopped ]')}
stamper /dev/vda 4 0 120 ${SECTORS} >/dev/null; stamper --verify /dev/vda 4 0 120 ${SECTORS}
echo TASK-DONE`

t.test('a memory module is plugged in above 4 GiB while the guest writes', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 100_000 }, async (t) => {
  const work = new Workspace('dimm')
  t.teardown(() => work.close())
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', newImage(work, 'disk.raw'), '--cache', work.file('region'), '--cache-size', '256MiB'])
  const guest = new Guest(work, {
    name: 'vm', socket: work.file('s'), task: GROW, limitSeconds: 90, memory: '256M', append: 'memhp_default_state=online', drives: ['-m', 'slots=2,maxmem=4G'],
  })
  await guest.waitFor(/^MEMORY \d+/m, 40_000)
  const qmp = await guest.qmp()
  await qmp.call('object-add', { 'qom-type': 'memory-backend-memfd', id: 'more', size: 512 * 1024 * 1024, share: true })
  await qmp.call('device_add', { driver: 'pc-dimm', id: 'dimm1', memdev: 'more' })
  await guest.waitFor(/TASK-DONE/, 60_000)
  const [before, after] = [...guest.serial.matchAll(/^MEMORY (\d+)/gm)].map((m) => Number(m[1]))
  t.ok(after! > before! + 400_000, `${before} KiB, then ${after} KiB`)
  t.match(guest.serial, /^FILLED$/m, 'pages of the new module were written to the disk')
  t.match(guest.serial, /^STAMPS bad=0 of/m)
  t.notMatch(guest.serial, /STAMP-ERROR|I\/O error/)
})

const TIMES = 20

t.test('memory is taken away and given back while the guest writes', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 60_000 }, async (t) => {
  const work = new Workspace('window')
  t.teardown(() => work.close())
  const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', newImage(work, 'disk.raw'), '--cache', work.file('region'), '--cache-size', '128MiB'])
  const proxy = new VhostProxy({ listen: work.file('p'), target: work.file('s') })
  work.onClose(() => proxy.close())
  const guest = new Guest(work, { name: 'vm', socket: work.file('p'), task: memoryComesAndGoes(TIMES), limitSeconds: 55, memory: '256M', queues: 2, cpus: 2, extra: MEMORY_ON_PCI })
  await guest.waitFor(/TASK-DONE/, 50_000)
  t.ok(proxy.count('remMemReg') >= TIMES, `${proxy.count('remMemReg')} times`)
  t.match(guest.serial, /^ROUND$/m)
  t.match(guest.serial, /^STAMPS bad=0 of/m)
  t.notMatch(guest.serial, /STAMP-ERROR|I\/O error/)
  t.notMatch(daemon.output, /is broken|not shared/)
})
