/** What the hook asks a daemon, and what it refuses; and that the script asks nothing for domains that are not ours. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ROOT } from '../../fixtures/lab/workspace.js'
import { ControlServer } from '../../lib/control/server.js'
import { EXIT } from '../../lib/core/failure.js'
import { diskXml } from '../../lib/libvirt/disk-xml.js'
import { hook } from '../../lib/libvirt/hook.js'
import { FLAG, MESSAGE, encodeMessage } from '../../lib/vhost/protocol.js'
import { FakeHost, fakeFigures, hostStatus, volumeStatus } from '../control/fake-host.js'

const domain = (...sockets: readonly string[]): string => `<domain><devices>${sockets.map((socket, i) => diskXml({ socket, target: `vd${'abc'[i]!}`, queues: null })).join('')}</devices></domain>`

interface Lab { readonly folder: string; readonly config: string; readonly host: FakeHost; socket(name: string): string; serve(name: string): Promise<void> }

function lab(t: Test, ...volumes: readonly string[]): Lab {
  const folder = mkdtempSync(join(tmpdir(), 'hf-hook-')), config = join(folder, 'h.toml'), host = new FakeHost()
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const socket = (name: string): string => join(folder, `${name}.sock`)
  writeFileSync(config, `[host]\nname = "hv07"\ncontrol_socket = "ctl"\n[region]\npath = "region"\n` +
    volumes.map((name) => `[[volume]]\nname = "${name}"\nbacking = "${name}.raw"\nsocket = "${socket(name)}"\ncopies = 0\n`).join(''))
  host.answer = () => hostStatus({ volumes: volumes.map((name) => volumeStatus({ name, socket: socket(name) })) })
  const serve = async (name: string): Promise<void> => {
    const server = createServer((client) => { client.on('error', () => undefined).on('data', () => client.write(encodeMessage(MESSAGE.getFeatures, FLAG.version | FLAG.reply, new Uint8Array(8)))) })
    await new Promise<void>((resolve) => server.listen(socket(name), resolve))
    t.teardown(() => server.close())
  }
  return { folder, config, host, socket, serve }
}

async function daemon(t: Test, { folder, host }: Lab): Promise<void> {
  const server = new ControlServer(join(folder, 'ctl'), host, fakeFigures)
  await server.start()
  t.teardown(() => server.stop())
}

const PREPARE = { operation: 'prepare', subOperation: 'begin', extra: '-' } as const
const release = (extra: string) => ({ operation: 'release', subOperation: 'end', extra })

t.test('a domain starts when each of its volumes answers', async (t) => {
  const it = lab(t, 'db01', 'db02')
  await it.serve('db01')
  const xml = domain(it.socket('db01'), it.socket('db02'))
  await t.rejects(hook(PREPARE, xml, it.config), { exitCode: EXIT.unreachable, message: `volume db02: ${it.socket('db02')} does not exist, and QEMU would wait for it for ever; is "holdfast serve" running?` }, 'without a daemon')
  await daemon(t, it)
  await t.rejects(hook(PREPARE, xml, it.config), { exitCode: EXIT.unreachable, message: /^volume db02: / })
  await it.serve('db02')
  await hook(PREPARE, xml, it.config)
  await hook(PREPARE, domain(join(it.folder, '../', it.folder.split('/').at(-1)!, 'db01.sock')), it.config)
  t.same(it.host.asked, [], 'nothing was changed')
})

t.test('a volume that answers and cannot be used is refused with the daemon\'s own reason', async (t) => {
  const it = lab(t, 'db01', 'db02')
  await daemon(t, it)
  for (const name of ['db01', 'db02', 'new']) await it.serve(name)
  it.host.answer = () => hostStatus({
    volumes: [volumeStatus({ name: 'db01', socket: it.socket('db01'), phase: 'failed', reason: 'its image was replaced' })],
    waiting: [{ name: 'db02', socket: it.socket('db02'), reason: '/san does not answer' }],
  })
  await t.rejects(hook(PREPARE, domain(it.socket('db01')), it.config), { exitCode: EXIT.unsafe, message: 'volume db01 cannot be used now: it is FAILED: its image was replaced' })
  await t.rejects(hook(PREPARE, domain(it.socket('db02')), it.config), { exitCode: EXIT.unsafe, message: 'volume db02 cannot be used now: it waits for its storage: /san does not answer' })
  await t.rejects(hook(PREPARE, domain(it.socket('other')), it.config), { exitCode: EXIT.config, message: `no volume of this host has the socket ${it.socket('other')}; add it as [[volume]] to ${it.config} and start the daemon again, or start the domain where it is` })
  it.host.answer = () => hostStatus({ volumes: [] })
  await t.rejects(hook(PREPARE, domain(it.socket('db01')), it.config), { exitCode: EXIT.unsafe, message: /the daemon was started before it was configured/ })
})

t.test('disks of other back ends are left alone', async (t) => {
  const it = lab(t, 'db01')
  await daemon(t, it)
  await hook(PREPARE, domain('/var/tmp/spdk/vhost.0'), it.config)
  await hook(PREPARE, domain(), join(it.folder, 'no.toml'))
  it.host.answer = () => { throw new Error('not asked') }
  await hook(PREPARE, domain(), it.config)
})

t.test('the end of a guest is told once for each volume of it, and a migration is no end', async (t) => {
  const it = lab(t, 'db01', 'db02')
  await daemon(t, it)
  const xml = domain(it.socket('db01'), '/var/tmp/spdk/vhost.0', it.socket('db02'))
  for (const reason of ['migrated', 'failed']) await hook(release(reason), xml, it.config)
  for (const [operation, subOperation] of [['stopped', 'end'], ['started', 'begin'], ['migrate', 'begin'], ['reconnect', 'begin'], ['restore', 'begin'], ['prepare', 'end']] as const) await hook({ operation, subOperation, extra: '-' }, xml, it.config)
  t.same(it.host.asked, [])
  for (const reason of ['-', 'shutdown', 'destroyed', 'crashed', 'saved']) {
    await hook(release(reason), xml, it.config)
    t.same(it.host.asked.splice(0).sort(), [['guestEnded', 'db01'], ['guestEnded', 'db02']], reason)
  }
  it.host.answer = () => { throw new Error('broken') }
  await hook(release('-'), xml, it.config)
  await hook(release('-'), 'no xml', it.config)
  t.same(it.host.asked, [], 'a failure there keeps nothing from ending')
})

const SCRIPT = join(ROOT, 'packaging/libvirt/hooks/holdfast')

t.test('the script asks nothing for other stages and other domains', async (t) => {
  const { folder } = lab(t), calls = join(folder, 'calls')
  writeFileSync(join(folder, 'holdfast'), `#!/bin/sh\necho "$@" >> ${calls}\ncat >> ${calls}\necho 'holdfast: no' >&2\nexit 69\n`)
  chmodSync(join(folder, 'holdfast'), 0o755)
  const run = (xml: string, ...args: readonly string[]) => spawnSync(SCRIPT, args, { input: xml, encoding: 'utf8', env: { PATH: `${folder}:/usr/bin:/bin` } })
  const ours = domain('/run/holdfast/db01.sock'), called = (): string => { try { return readFileSync(calls, 'utf8') } finally { rmSync(calls, { force: true }) } }
  for (const stage of ['start begin', 'started begin', 'stopped end', 'migrate begin', 'reconnect begin', 'restore begin', 'attach begin', 'prepare end']) {
    t.match(run(ours, 'vm1', ...stage.split(' '), '-'), { status: 0, stdout: '', stderr: '' }, stage)
  }
  for (const xml of ['<domain><devices><disk type="file"/></devices></domain>', '', 'x'.repeat(2 ** 20)]) t.match(run(xml, 'vm1', 'prepare', 'begin', '-'), { status: 0, stdout: '' })
  t.throws(called, { code: 'ENOENT' }, 'no program was started')
  t.match(run(ours, 'vm1', 'prepare', 'begin', '-'), { status: 69, stdout: '', stderr: 'holdfast: no\n' })
  t.equal(called(), `libvirt hook --config /etc/holdfast/holdfast.toml -- vm1 prepare begin -\n${ours}`)
  t.match(run(ours, 'vm1', 'release', 'end', 'shutdown'), { status: 0 }, 'the end of a domain cannot be refused')
  t.equal(called(), `libvirt hook --config /etc/holdfast/holdfast.toml -- vm1 release end shutdown\n${ours}`)
  rmSync(join(folder, 'holdfast'))
  t.match(run(ours, 'vm1', 'prepare', 'begin', '-'), { status: 69, stderr: /^holdfast: the program is not in the PATH of libvirt/ })
  t.match(run(domain('/var/tmp/spdk/vhost.0'), 'vm1', 'prepare', 'begin', '-'), { status: 0, stderr: '' })
  t.match(run(ours, 'vm1', 'release', 'end', '-'), { status: 0, stderr: '' })
})
