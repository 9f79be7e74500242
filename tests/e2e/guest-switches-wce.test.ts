/**
 * The guest switches its disk's write cache off and on again: the volume obeys, seen where its writes reach the kernel.
 * Also after a reconnection: QEMU does not tell again, and the guest, which believes in write-through, does not flush.
 */
import { readlinkSync } from 'node:fs'
import t from 'tap'
import type { Logger } from '../../lib/control/log.js'
import { startBlk, type RunningBlk } from '../../lib/daemon/blk.js'
import { IoRing } from '../../lib/io/ring.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy, type TracedMessage } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const WRITES = 64
const skip = requires('qemu-system-x86_64', 'guest')
// Direct writes without a flush: only the cache's state says whether they must be durable.
const TASK = `
cd /sys/block/vda
for mode in first "write through" again "write back"; do
  case $mode in w*) echo "$mode" > cache_type ;; esac
  echo "MODE $(cat cache_type)"
  read word < /dev/console
  dd if=/dev/zero of=/dev/vda bs=4k count=${WRITES} oflag=direct 2>/dev/null
  echo "WRITTEN $mode"
done
read word < /dev/console
echo TASK-DONE`

const silent: Logger = { info: () => undefined, warn: () => undefined, child: () => silent }

/** After a migration nobody tells that the cache is off; a flush is the proof that the guest believes in it again. */
const MOVING_TASK = `
cd /sys/block/vda
echo "write through" > cache_type; echo READY
for mode in moved flushed; do
  read word < /dev/console
  if [ $mode = flushed ]; then
    echo "write back" > cache_type; dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null
    echo FLUSHED; read word < /dev/console
  fi
  dd if=/dev/zero of=/dev/vda bs=4k count=${WRITES} oflag=direct 2>/dev/null
  echo "WRITTEN $mode"
done
read word < /dev/console`

interface Written { readonly path: string; readonly durable: boolean }

/** Every write that this process gives to io_uring from now on. */
function watchWrites(): { readonly writes: Written[]; stop(): void } {
  const writes: Written[] = [], original = IoRing.prototype.write
  IoRing.prototype.write = function (...args) {
    writes.push({ path: readlinkSync(`/proc/self/fd/${args[0]}`), durable: args[4] })
    original.apply(this, args)
  }
  return { writes, stop: () => { IoRing.prototype.write = original } }
}

/** Writes to `path` from a word to the guest until it says that it has done its own. */
async function burst(guest: Guest, path: string, mode: string): Promise<{ durable: number; all: number }> {
  // Nothing of what came before is still under way when the writes are counted.
  await sleep(300)
  const { writes, stop } = watchWrites()
  try {
    await guest.say('go')
    await guest.waitFor(new RegExp(`^WRITTEN ${mode}$`, 'm'), 15_000)
  } finally {
    stop()
  }
  const own = writes.filter((write) => write.path === path)
  return { durable: own.filter(({ durable }) => durable).length, all: own.length }
}

async function serve(work: Workspace, cached: boolean): Promise<{ running: RunningBlk; socket: string; path: string }> {
  const image = work.image('disk.raw', 64 * 1024 * 1024), region = work.file('region'), socket = work.file('v.sock')
  const running = await startBlk({
    socket: { path: socket }, image, cache: cached ? region : null, cacheBytes: cached ? 64 * 1024 * 1024 : null, readOnly: false,
    durability: 'flush', quarantineMs: 0, order: null,
  }, silent, () => undefined)
  return { running, socket, path: cached ? region : image }
}

for (const cached of [false, true]) {
  t.test(cached ? 'a cached volume' : 'a volume that is passed through', { skip, timeout: 40_000 }, async (t) => {
    const work = new Workspace('wce')
    t.teardown(() => work.close())
    const { running, socket, path } = await serve(work, cached)
    const told: TracedMessage[] = []
    const trace = (m: TracedMessage): void => { if (m.request === 'setConfig' && m.from === 'front') told.push(m) }
    const proxy = new VhostProxy({ listen: work.file('p'), target: socket, trace })
    work.onClose(() => proxy.close())
    const guest = new Guest(work, { name: 'vm', socket: work.file('p'), task: TASK, limitSeconds: 38, memory: '256M' })
    await guest.waitFor(/^MODE write back$/m, 25_000)
    const first = await burst(guest, path, 'first')
    t.ok(first.all >= WRITES && first.durable < WRITES / 2, `write back at first: ${first.durable} of ${first.all} writes are durable`)
    await guest.waitFor(/^MODE write through$/m, 5000)
    const through = await burst(guest, path, 'write through')
    t.ok(through.all >= WRITES, `${through.all} writes`)
    t.equal(through.durable, through.all, 'write through: every one is durable when it is acknowledged')
    await guest.waitFor(/^MODE write through[\s\S]*^MODE write through$/m, 5000)
    const enabled = proxy.count('setVringEnable')
    proxy.dropAll()
    await until('QEMU to reconnect', 10_000, () => proxy.count('setVringEnable') > enabled)
    const again = await burst(guest, path, 'again')
    t.ok(again.all >= WRITES, `${again.all} writes after a reconnection`)
    t.equal(again.durable, again.all, 'write through still, though nobody said so again')
    await guest.waitFor(/^MODE write through[\s\S]*^MODE write back$/m, 5000)
    const back = await burst(guest, path, 'write back')
    t.ok(back.all >= WRITES && back.durable < WRITES / 2, `write back again: ${back.durable} of ${back.all} writes are durable`)
    t.same(told.map(({ payload }) => [payload.slice(0, 16), payload.slice(-2)]),
      [['2000000001000000', '00'], ['2000000001000000', '01']], 'by SET_CONFIG of the one byte that a driver may write')
    await guest.say('end')
    await guest.waitFor(/TASK-DONE/, 5000)
    await guest.waitExit(10_000)
    t.equal(await running.stop(), true)
  })
}

t.test('a guest that moves', { skip, timeout: 40_000 }, async (t) => {
  const work = new Workspace('wcemig')
  t.teardown(() => work.close())
  const { running, socket, path } = await serve(work, true)
  const options = { socket, task: MOVING_TASK, limitSeconds: 38, memory: '256M' } as const
  const source = new Guest(work, { ...options, name: 'a' }), target = new Guest(work, { ...options, name: 'b', incoming: true })
  await source.waitFor(/^READY$/m, 20_000)
  await source.migrateTo(target, work, 15_000)
  await source.kill9()
  const moved = await burst(target, path, 'moved')
  t.ok(moved.all >= WRITES, `${moved.all} writes after the migration`)
  t.equal(moved.durable, moved.all, 'write through still')
  await target.say('flush')
  await target.waitFor(/^FLUSHED$/m, 5000)
  const flushed = await burst(target, path, 'flushed')
  t.ok(flushed.all >= WRITES && flushed.durable < WRITES / 2, `write back after a flush: ${flushed.durable} of ${flushed.all} writes are durable`)
  await target.say('end')
  await target.waitExit(10_000)
  t.equal(await running.stop(), true)
})
