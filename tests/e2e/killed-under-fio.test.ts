/** kill -9 of the daemon under fio --verify in a real guest, each after QEMU's handshake was done. KILLS sets how often. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

const KILLS = Number(process.env['KILLS'] ?? 5)

const TASK = `
( read word < /dev/console; touch /tmp/stop ) &
n=0
while [ ! -e /tmp/stop ]; do
  fio --name=v --filename=/dev/vda --rw=randwrite --bsrange=512-16k --blockalign=512 --size=24m --io_size=2m --direct=1 --ioengine=psync \\
    --fsync=8 --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=$n --minimal > /tmp/fio.out 2>&1 || { echo FIO-FAILED; tail -n 5 /tmp/fio.out; break; }
  n=$((n+1)); echo "ROUND $n"
done
echo TASK-DONE`

t.test(`${KILLS} kills under fio --verify`, { skip: requires('qemu-system-x86_64', 'guest-fio'), timeout: 80_000 + KILLS * 5000 }, async (t) => {
  const work = new Workspace('fio')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 32 * 1024 * 1024)
  const args = ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '128MiB', '--quarantine', '300ms']
  let daemon = await startBlk(work, 'blk', args)
  const guest = new Guest(work, { name: 'vm', socket: work.file('s'), task: TASK, limitSeconds: 70 + KILLS * 5, memory: '384M', initrd: 'guest-fio' })
  const rounds = (): number => Number([...guest.serial.matchAll(/^ROUND (\d+)/gm)].at(-1)?.[1] ?? 0)
  await guest.waitFor(/^ROUND 1$/m, 50_000)
  for (let i = 0; i < KILLS; i++) {
    await daemon.kill9()
    daemon = await startBlk(work, `blk-${i}`, args)
    // QEMU 7.2 forgets to connect again when an accepted connection ends within its handshake: that is its own fault, not
    // looked for here. Its last message enables the last ring, as fixtures/vhost-traces/qemu-7.2-reconnect.jsonl shows.
    await until('the end of the handshake, and a volume', 20_000, () => /: started, 1 ring/.test(daemon.output) && /serving epoch/.test(daemon.output))
    await sleep(200 + (i * 137) % 900)
    if (/FIO-FAILED/.test(guest.serial)) break
  }
  const before = rounds()
  await until('another round', 30_000, () => rounds() > before || /FIO-FAILED/.test(guest.serial))
  await guest.say('stop')
  await guest.waitFor(/TASK-DONE/, 40_000)
  t.notMatch(guest.serial, /FIO-FAILED|I\/O error/, `${rounds()} rounds of fio over ${KILLS} kills, no mismatch`)
})
