/** A guest moves to and fro between two hosts twenty times while its fio writes, flushes and verifies. HOPS sets how often. */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const HOPS = Number(process.env['HOPS'] ?? 20)

/** What it writes stays small, so that each round of fio comes to its verification within a few hops. */
const TASK = `
( read word < /dev/console; touch /tmp/stop ) &
n=0
while [ ! -e /tmp/stop ]; do
  fio --name=v --filename=/dev/vda --rw=randwrite --bsrange=512-16k --blockalign=512 --size=24m --io_size=1m --direct=1 --ioengine=psync \\
    --fsync=16 --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=$n --minimal > /tmp/fio.out 2>&1 || { echo FIO-FAILED; tail -n 5 /tmp/fio.out; break; }
  n=$((n+1)); echo "ROUND $n"
done
echo TASK-DONE`

t.test(`${HOPS} live migrations under fio --verify`, { skip: requires('qemu-system-x86_64', 'guest-fio'), timeout: 40_000 + HOPS * 6000 }, async (t) => {
  const work = new Workspace('pong')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 32 * 1024 * 1024)
  const cluster = await LabCluster.create(work, {
    image, hosts: ['a', 'b'], copies: 1, regionSize: '256MiB', volume: 'destage_delay = "3s"\n',
    timing: 'renew = "500ms"\nfail_after = "2s"\ndead_after = "4s"\nquarantine = "2s"',
  })
  await cluster.start()
  const limitSeconds = 40 + HOPS * 6, seen: string[] = [], downtimesMs: number[] = [], stoppedMs: number[] = []
  const guest = (hop: number): Guest => new Guest(work, {
    name: `vm-${hop}`, socket: cluster.socket(hop % 2 === 0 ? 'a' : 'b'), task: TASK, incoming: hop > 0, limitSeconds, memory: '384M', initrd: 'guest-fio',
  })
  let here = guest(0)
  await here.waitFor(/^ROUND 1$/m, 40_000)
  for (let hop = 1; hop <= HOPS; hop++) {
    const next = guest(hop), moved = await here.migrateTo(next, work)
    downtimesMs.push(moved.downtimeMs)
    stoppedMs.push(moved.stopToResumeMs)
    await (await here.qmp()).call('quit').catch(() => undefined)
    await here.waitExit(10_000)
    seen.push(here.serial)
    here = next
    if (/FIO-FAILED|I\/O error/.test(here.serial)) break
  }
  await here.say('stop')
  await here.waitFor(/TASK-DONE/, 30_000)
  seen.push(here.serial)
  const console = seen.join('\n'), rounds = Number([...console.matchAll(/^ROUND (\d+)/gm)].at(-1)?.[1])
  t.notMatch(console, /FIO-FAILED|I\/O error/, `${rounds} rounds of fio, no mismatch and no error`)
  t.equal(downtimesMs.length, HOPS)
  const middle = (values: readonly number[]): string => [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)]!.toFixed(0)
  const most = (values: readonly number[]): string => Math.max(...values).toFixed(0)
  t.comment(`QEMU's downtime: p50 ${middle(downtimesMs)} ms, most ${most(downtimesMs)} ms; from STOP to RESUME: p50 ${middle(stoppedMs)} ms, most ${most(stoppedMs)} ms`)
  const owner = HOPS % 2 === 0 ? 'a' : 'b'
  t.match(await cluster.host(owner).volume('db01'), { phase: 'serving', owner, counters: { guestErrors: 0 } })
  await here.kill()
  t.equal(await cluster.host(owner).stop(), 0, `${owner} drains and stops`)
})
