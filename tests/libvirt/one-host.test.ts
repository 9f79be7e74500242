/** A real libvirt on one host, with the template and the hook that users get: what starts, what is refused, what is attached. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HOLDFAST, type LabHost } from '../../fixtures/lab/daemon.js'
import { say, serial, waitFor, writeDomain } from '../../fixtures/lab/libvirt-guest.js'
import { LibvirtHosts, type LibvirtHost } from '../../fixtures/lab/libvirt-host.js'
import { namespacesMissing } from '../../fixtures/lab/namespaces.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { stampImage } from '../../fixtures/lab/stamp-model.js'
import { ROOT, Workspace, until } from '../../fixtures/lab/workspace.js'

const SECTORS = 32768
const SOCKET = '/run/holdfast/db01.sock'
const WAIT = (what: string): string => `n=0; while ${what} && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done`

const gone = (a: LibvirtHost, name: string): Promise<unknown> => until(`the end of ${name}`, 40_000, async () => !(await a.virsh('list', '--name')).stdout.includes(name))

async function startSaveRestore(t: Test, work: Workspace, a: LibvirtHost, daemon: LabHost): Promise<void> {
  const xml = writeDomain(work, { name: 'vm1', task: `
stamper /dev/vda 7 0 60 ${SECTORS} discard; echo READY
read word < /dev/console
stamper /dev/vda 7 60 60 ${SECTORS} discard
stamper --verify /dev/vda 7 0 120 ${SECTORS} discard
read word < /dev/console` })
  t.match(await a.virsh('define', join(ROOT, 'packaging/libvirt/domain.xml')), { code: 0 }, 'the template is legal as it is')
  await a.virsh('undefine', 'vm1')
  t.match(await a.virsh('create', xml), { code: 0 })
  await waitFor(a, 'vm1', /^READY/m, 100_000)
  t.ok((await daemon.volume('db01')).dirtyBytes > 0)
  t.match(await a.virsh('save', 'vm1', '/run/vm1.saved'), { code: 0 })
  t.match(await a.virsh('restore', '/run/vm1.saved'), { code: 0 })
  await say(a, 'vm1', 'go on')
  await waitFor(a, 'vm1', /^STAMPS bad=0 of/m, 60_000)
  t.match(await daemon.control.guestEnded('db01'), { draining: false }, 'a hook that comes at the wrong time changes nothing')
  t.ok((await daemon.volume('db01')).dirtyBytes > 0, 'what a guest that runs has written stays in the region')
  await say(a, 'vm1', 'power off')
  await gone(a, 'vm1')
  await until('the drain that the hook asks for', 30_000, async () => (await daemon.volume('db01')).dirtyBytes === 0)
  t.match(await daemon.volume('db01'), { phase: 'serving', owner: 'a' }, 'the volume is still owned by its host')
}

async function refusals(t: Test, work: Workspace, a: LibvirtHost, daemon: LabHost): Promise<void> {
  const xml = writeDomain(work, { name: 'vm1', task: 'echo BOOTED' }), text = readFileSync(xml, 'utf8')
  const created = async (changed: string): Promise<{ code: number | null; stderr: string }> => {
    writeFileSync(xml, changed)
    return a.virsh('create', xml)
  }
  t.match(await created(text.replace(/<memoryBacking>[^]*<\/memoryBacking>/, '')), { code: 1, stderr: /shared? .*memory|memory.* shared?/ }, 'memory that is not shared')
  t.match(await created(text.replace('db01.sock', 'db02.sock')), { code: 1, stderr: /holdfast: no volume of this host has the socket \/run\/holdfast\/db02.sock; add it as \[\[volume\]\] to \/etc\/holdfast\/holdfast.toml/ })
  t.equal(await daemon.stop(), 0)
  t.match(await created(text), { code: 1, stderr: /holdfast: volume db01: \/run\/holdfast\/db01.sock does not exist, and QEMU would wait for it for ever; is "holdfast serve" running\?/ })
  t.notMatch((await a.virsh('list', '--all', '--name')).stdout, /vm1/, 'nothing is left of it')
  await daemon.start()
}

async function hotPlug(t: Test, work: Workspace, a: LibvirtHost, daemon: LabHost): Promise<void> {
  const attach = (): Promise<{ code: number | null; stderr: string }> => a.command(HOLDFAST, ['libvirt', 'xml', 'db01', '--attach', 'vm2'])
  t.match(await a.virsh('create', writeDomain(work, { name: 'vm2', diskless: true, task: `
echo READY; ${WAIT('[ ! -e /dev/vda ]')}
stamper --verify /dev/vda 7 0 120 ${SECTORS} discard
${WAIT('[ -e /dev/vda ]')}; echo GONE
read word < /dev/console; echo ALIVE
read word < /dev/console` })), { code: 0 })
  await waitFor(a, 'vm2', /^READY/m, 100_000)
  t.match(await attach(), { code: 0, stdout: 'db01 is vda of vm2\n' })
  await waitFor(a, 'vm2', /^STAMPS bad=0 of/m, 60_000)
  t.match(await attach(), { code: 75, stderr: /^holdfast: volume db01 is connected to a guest already/ })
  t.match(await a.virsh('detach-disk', 'vm2', 'vda', '--live'), { code: 0 })
  await waitFor(a, 'vm2', /^GONE/m, 60_000)
  await daemon.kill9()
  t.match(await attach(), { code: 69, stderr: /^holdfast: no daemon answers/ })
  await say(a, 'vm2', 'are you there?')
  await waitFor(a, 'vm2', /^ALIVE/m, 30_000)
  await a.killLibvirtd()
  await a.startLibvirtd()
  t.match((await a.virsh('domstate', 'vm2')).stdout, /^running/, 'a libvirt that was started again finds the domain, with the daemon away')
  t.match(await a.virsh('destroy', 'vm2'), { code: 0 })
  await daemon.start()
  await until('the volume on its host again', 20_000, async () => (await daemon.volume('db01')).phase === 'serving')
}

t.test('domains of one host', { skip: requires('qemu-system-x86_64', 'libvirtd', 'virsh', 'guest') || namespacesMissing(), timeout: 230_000 }, async (t) => {
  const work = new Workspace('virt')
  t.teardown(() => work.close())
  const hosts = await LibvirtHosts.create(work, ['a']), image = work.image('db01.raw', SECTORS * 512)
  const cluster = await LabCluster.create(work, { image, hosts: ['a'], copies: 0, network: hosts, socket: SOCKET, volume: 'destage_delay = "10m"\n', timing: 'renew = "500ms"\nfail_after = "2s"\ndead_after = "4s"\nquarantine = "2s"' })
  const a = hosts.host('a'), daemon = cluster.host('a')
  a.installHook()
  await Promise.all([a.startLibvirtd(), cluster.start()])
  await t.test('start, save, restore, shutdown', (t) => startSaveRestore(t, work, a, daemon))
  await t.test('a domain that would hang is not started', (t) => refusals(t, work, a, daemon))
  await t.test('a volume is attached and detached', (t) => hotPlug(t, work, a, daemon))
  t.equal(await daemon.stop(), 0)
  t.ok(readFileSync(image).equals(stampImage(7, 120, SECTORS, true)), 'the image is what the guest wrote')
  t.notMatch(serial(a, 'vm1'), /I\/O error/)
})
