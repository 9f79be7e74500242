/** `virsh migrate --live` between two libvirts with a Holdfast each, hooks in place: dirty data stays where it is until the guest ends. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { say, serial, waitFor, writeDomain } from '../../fixtures/lab/libvirt-guest.js'
import { LibvirtHosts } from '../../fixtures/lab/libvirt-host.js'
import { namespacesMissing } from '../../fixtures/lab/namespaces.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { stampImage } from '../../fixtures/lab/stamp-model.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 32768
/** Rounds of writes until a word comes on the console; then all of them are verified. */
const TASK = `
( read word < /dev/console; touch /tmp/stop ) &
n=0
while [ ! -e /tmp/stop ]; do stamper /dev/vda 7 $((n*20)) 20 ${SECTORS} > /dev/null || echo STAMP-ERROR; n=$((n+1)); echo "ROUND $n"; done
stamper --verify /dev/vda 7 0 $((n*20)) ${SECTORS} && echo "VERIFIED $((n*20))"`

t.test('a domain moves, and what is dirty does not', { skip: requires('qemu-system-x86_64', 'libvirtd', 'virsh', 'guest') || namespacesMissing(), timeout: 230_000 }, async (t) => {
  const work = new Workspace('virtmove')
  t.teardown(() => work.close())
  const hosts = await LibvirtHosts.create(work, ['a', 'b']), image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, { image, hosts: ['a', 'b'], copies: 1, regionSize: '256MiB', network: hosts, socket: '/run/holdfast/db01.sock', volume: 'destage_delay = "10m"\n' })
  const a = hosts.host('a'), b = hosts.host('b'), migrate = () => a.virsh('migrate', '--live', 'vm1', 'qemu+tcp://b/system')
  for (const host of [a, b]) host.installHook()
  await Promise.all([a.startLibvirtd(), cluster.start()])
  t.match(await a.virsh('create', writeDomain(work, { name: 'vm1', task: TASK })), { code: 0 })
  await b.startLibvirtd()
  await waitFor(a, 'vm1', /^ROUND 2$/m, 100_000)

  await cluster.host('b').stop()
  t.match(await migrate(), { code: 1, stderr: /holdfast: volume db01: \/run\/holdfast\/db01.sock does not exist/ }, 'the hook of a destination that could not serve it says so')
  t.match((await a.virsh('domstate', 'vm1')).stdout, /^running/, 'and the guest runs on')
  await cluster.host('b').start()
  await cluster.connected('a', 'b')
  await until('a copy on b again', 20_000, async () => (await cluster.host('a').volume('db01')).set.length === 2)

  const before = await cluster.host('a').volume('db01')
  t.ok(before.dirtyBytes > 0)
  t.match(await migrate(), { code: 0, stderr: '' })
  t.match((await b.virsh('domstate', 'vm1')).stdout, /^running/)
  await waitFor(b, 'vm1', /^ROUND \d+$/m, 60_000)
  const after = await cluster.host('b').volume('db01')
  t.match(after, { phase: 'serving', owner: 'b' })
  t.ok(after.inherited.length > 0 && after.base <= before.base, 'nothing was drained for it')
  t.notMatch(cluster.host('a').child!.output, /has ended/, 'the end of QEMU on the source is not the end of the guest')

  await say(b, 'vm1', 'stop')
  const count = Number((await waitFor(b, 'vm1', /^VERIFIED (\d+)$/m, 80_000))[1])
  await until('the end of vm1', 40_000, async () => !(await b.virsh('list', '--name')).stdout.includes('vm1'))
  await until('the drain that the hook asks for', 40_000, async () => (await cluster.host('b').volume('db01')).dirtyBytes === 0)
  t.notMatch(serial(a, 'vm1') + serial(b, 'vm1'), /STAMP-ERROR|I\/O error/)
  t.equal(await cluster.host('b').stop(), 0)
  t.ok(readFileSync(image).equals(stampImage(7, count, SECTORS, false)), `the image is what the guest wrote, in ${count} operations`)
})
