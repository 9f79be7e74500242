/** fio verifies its own writes while the guest moves a -> b -> a between two hosts, with a copy on each other. */
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const TASK = `
echo "CACHE $(cat /sys/block/vda/cache_type)"
( read word < /dev/console; touch /tmp/stop ) &
n=0
while [ ! -e /tmp/stop ]; do
  fio --name=v --filename=/dev/vda --rw=randwrite --bsrange=512-16k --blockalign=512 --size=24m --io_size=3m --direct=1 --ioengine=psync \\
    --fsync=16 --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=$n --minimal > /tmp/fio.out 2>&1 || { echo "FIO-FAILED"; tail -n 5 /tmp/fio.out; break; }
  n=$((n+1)); echo "ROUND $n"
done
echo TASK-DONE`

t.test('fio --verify while the guest migrates a -> b -> a', { skip: requires('qemu-system-x86_64', 'guest-fio'), timeout: 230_000 }, async (t) => {
  const work = new Workspace('move')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024)
  const cluster = await LabCluster.create(work, { image, hosts: ['a', 'b'], copies: 1, regionSize: '256MiB', volume: 'destage_delay = "10m"', timing: 'renew = "500ms"\nfail_after = "2s"\ndead_after = "4s"\nquarantine = "2s"' })
  await cluster.start()
  const guest = (name: string, host: string, incoming: boolean): Guest =>
    new Guest(work, { name, socket: cluster.socket(host), task: TASK, incoming, limitSeconds: 220, memory: '384M', initrd: 'guest-fio' })
  const rounds = (g: Guest): number => Number([...g.serial.matchAll(/^ROUND (\d+)/gm)].at(-1)?.[1] ?? 0)

  let here = guest('vm-0', 'a', false)
  await here.waitFor(/^ROUND 1$/m, 60_000)
  t.match(here.serial, /^CACHE write back$/m, 'the guest knows that it must flush')
  for (const [hop, host] of ['b', 'a'].entries()) {
    const before = rounds(here), next = guest(`vm-${hop + 1}`, host, true)
    const moved = await here.migrateTo(next, work)
    await (await here.qmp()).call('quit').catch(() => undefined)
    await until(`a round of fio after hop ${hop + 1}`, 90_000, () => {
      if (/FIO-FAILED/.test(next.serial)) throw new Error(next.serial.slice(-1500))
      return rounds(next) > before + 1
    }).catch(async (error: Error) => {
      const states = await Promise.all(['a', 'b'].map(async (name) => `${name}: ${JSON.stringify(await cluster.host(name).volume('db01'))}\n${cluster.host(name).child!.output.slice(-1200)}`))
      throw new Error(`${error.message}\nQEMU ended: ${next.exit ?? 'no'}\n${next.serial.slice(-800)}\n${states.join('\n')}`)
    })
    const volume = await cluster.host(host).volume('db01')
    t.match(volume, { phase: 'serving', owner: host }, `${host} owns the volume, the guest stopped for ${moved.stopToResumeMs.toFixed(0)} ms`)
    t.ok(volume.counters.remoteReads > 0 || volume.inherited.length > 0, 'it inherited what the other host had not destaged')
    here = next
  }
  await here.say('stop')
  await here.waitFor(/TASK-DONE/, 40_000)
  t.notMatch(here.serial, /FIO-FAILED|I\/O error/, 'no mismatch and no error')
  await sleep(100)
  t.equal(await cluster.host('a').stop(), 0, 'a drains and stops')
})
