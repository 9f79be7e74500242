/**
 * The storage stands still under a guest with 128 requests at a time and a region of 64 MiB: no error, no hang once it
 * is back, and no memory that grows with the wait. HANG_SECONDS sets how long.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { SlowStorage } from '../../fixtures/lab/slow-storage.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const HANG_SECONDS = Number(process.env['HANG_SECONDS'] ?? 8)
const DISK_MIB = 128
/** Staging, bounce buffers and index of one volume, several times over. */
const GROWTH_MAX_BYTES = 192 * 1024 * 1024

const TASK = `
( read word < /dev/console; touch /tmp/stop ) &
n=0
while [ ! -e /tmp/stop ]; do
  fio --name=v --filename=/dev/vda --rw=randwrite --bs=4k --size=${DISK_MIB - 16}m --io_size=24m --direct=1 --ioengine=libaio --iodepth=128 \\
    --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=$n --minimal > /tmp/fio.out 2>&1 || { echo FIO-FAILED; tail -n 5 /tmp/fio.out; break; }
  n=$((n+1)); echo "ROUND $n"
done
echo TASK-DONE`

const rssBytes = (pid: number): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024

t.test(`a backing that hangs for ${HANG_SECONDS} s under fio at depth 128`, {
  skip: requires('qemu-system-x86_64', 'guest-fio', 'nbdkit', 'nbdfuse', '/dev/fuse'), timeout: 150_000 + HANG_SECONDS * 3000,
}, async (t) => {
  const work = new Workspace('hung')
  t.teardown(() => work.close())
  const storage = new SlowStorage(work, work.file('shared'), DISK_MIB * 1024 * 1024)
  await storage.start(1, 2)
  const cluster = await LabCluster.create(work, {
    image: storage.image, hosts: ['a'], copies: 0, regionSize: '64MiB', timing: 'quarantine = "10s"', volume: 'destage_delay = "50ms"',
  })
  await cluster.start()
  const host = cluster.host('a'), daemon = host.child!
  const guest = new Guest(work, { name: 'vm', socket: cluster.socket('a'), task: TASK, limitSeconds: 140 + HANG_SECONDS * 3, memory: '384M', initrd: 'guest-fio' })
  const rounds = (): number => Number([...guest.serial.matchAll(/^ROUND (\d+)/gm)].at(-1)?.[1] ?? 0)
  await guest.waitFor(/^ROUND 1$/m, 60_000)
  await until('something dirty', 20_000, async () => (await host.volume('db01')).dirtyBytes > 0)
  const before = rssBytes(daemon.pid)
  storage.hang()
  let most = 0, shown = 0
  const end = performance.now() + HANG_SECONDS * 1000
  while (performance.now() < end) {
    most = Math.max(most, rssBytes(daemon.pid))
    await host.status()
    shown++
    await sleep(100)
  }
  const { region } = await host.status()
  storage.resume()
  const then = rounds()
  await until('two more rounds', 60_000, () => rounds() >= then + 2 || /FIO-FAILED/.test(guest.serial))
  await guest.say('stop')
  await guest.waitFor(/TASK-DONE/, 60_000)
  t.notMatch(guest.serial, /FIO-FAILED|I\/O error/, `${rounds()} rounds of fio, no error and no mismatch`)
  t.ok(most - before < GROWTH_MAX_BYTES, `${Math.round((most - before) / 2 ** 20)} MiB more memory while it hung, on ${Math.round(before / 2 ** 20)} MiB`)
  t.ok(shown > HANG_SECONDS, 'status answered all the time')
  t.match(await host.volume('db01'), { phase: 'serving', counters: { guestErrors: 0 } }, `the region had ${region.freeBytes / 2 ** 20} MiB left`)
})
