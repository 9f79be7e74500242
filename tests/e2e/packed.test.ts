/**
 * A guest with packed rings. Its firmware knows split ones only, so one connection carries both, one after the other.
 * Then the daemon is killed under it, again and again: what was in flight is done, and nothing acknowledged is lost.
 */
import t from 'tap'
import { FEATURE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy, type TracedMessage } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

const CRASHES = 3, SECTORS = 65536

const TASK = `
echo "PACKED $(cut -c35 /sys/block/vda/device/features)"
( read word < /dev/console; touch /tmp/stop ) &
i=0; while [ ! -e /tmp/stop ]; do stamper /dev/vda 5 $i 40 ${SECTORS} discard >/dev/null && i=$((i+40)) || echo STAMP-ERROR; echo "ROUND $i"; done
echo 3 > /proc/sys/vm/drop_caches
stamper --verify /dev/vda 5 0 $i ${SECTORS} discard
echo TASK-DONE`

t.test('a firmware with split rings, a system with packed ones, and kill -9 of the daemon', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 110_000 }, async (t) => {
  const work = new Workspace('packed')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', SECTORS * 512)
  let messages: TracedMessage[] = []
  const listen = (): VhostProxy => {
    messages = []
    return new VhostProxy({ listen: work.file('v.sock'), target: work.file('d.sock'), trace: (message) => messages.push(message) })
  }
  let proxy = listen()
  work.onClose(() => proxy.close())
  const args = ['--socket-path', work.file('d.sock'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '256MiB', '--quarantine', '500ms']
  let daemon = await startBlk(work, 'blk', args)
  const guest = new Guest(work, { name: 'vm', socket: work.file('v.sock'), task: TASK, packed: true, queues: 2, limitSeconds: 100, memory: '256M' })
  await guest.waitFor(/^ROUND \d+[\s\S]*^ROUND \d+/m, 40_000)
  t.match(guest.serial, /^PACKED 1$/m, 'the guest uses them')

  /** Features acknowledged with each start of a ring, over a connection. */
  const starts = (connection: number): boolean[] => {
    let packed = false
    return messages.filter((m) => m.connection === connection && m.from === 'front').flatMap((m) => {
      if (m.request === 'setFeatures') packed = (Buffer.from(m.payload, 'hex').readBigUInt64LE() & FEATURE.ringPacked) !== 0n
      return m.request === 'setVringKick' ? [packed] : []
    })
  }
  // The first connection is run-vm's, who asks whether somebody is there.
  const formats = starts(2)
  t.equal(formats[0], false, 'the firmware started a split ring')
  t.equal(formats.at(-1), true, 'over the same connection the system started packed ones')
  t.match(daemon.output, /started, \d rings?, split[\s\S]*started, \d rings?, packed/)

  for (let i = 0; i < CRASHES; i++) {
    await daemon.kill9()
    // To accept and close while nobody is behind would be the end: QEMU 7.2 never comes back from that.
    proxy.close()
    const before = guest.serial.length
    daemon = await startBlk(work, `blk-${i}`, args)
    proxy = listen()
    await guest.waitFor(new RegExp(`^[\\s\\S]{${before}}[\\s\\S]*^ROUND \\d+[\\s\\S]*^ROUND \\d+`, 'm'), 25_000)
    t.match(daemon.output, /started, \d rings?, packed/)
    t.same([...new Set(starts(proxy.connections))], [true], 'nothing but packed rings after a crash')
    await sleep(200 + 150 * i)
  }
  await guest.say('stop')
  await guest.waitFor(/TASK-DONE/, 40_000)
  t.match(guest.serial, /^STAMPS bad=0 of/m, 'every write and discard is there')
  t.notMatch(guest.serial, /STAMP-ERROR|I\/O error/, 'the guest saw no error')
  t.notMatch(daemon.output, /is broken|served without|unanswered/)
})
