/** What a host says of a peer whose certificate it cannot take, and that a new one needs no restart. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ControlClient } from '../../lib/control/client.js'
import { initCluster, issueHost, type HostFiles } from '../../lib/pki/pki.js'
import { freePorts, until } from '../../fixtures/lab/workspace.js'
import { start, workDirectory, type Running } from '../cli/holdfast.js'
import { expired } from '../peer/old-certificate.js'

const directory = workDirectory(t), ours = join(directory, 'ours'), theirs = join(directory, 'theirs')
await initCluster(ours)
await initCluster(theirs)
const a = await issueHost(ours, 'a', []), b = await issueHost(ours, 'b', []), foreign = await issueHost(theirs, 'b', [])
const old: HostFiles = { ...b, certificate: expired(ours, 'b') }

/** Both dial each other; b reads its certificate from files of its own, which may become others. */
async function pair(t: Test, name: string, of: HostFiles): Promise<{ a: Running; b: Running; put: (files: HostFiles) => void; linked: () => Promise<boolean> }> {
  const at = join(directory, name), [portA, portB] = await freePorts(2)
  mkdirSync(at)
  const put = (files: HostFiles): void => { for (const key of ['certificate', 'key', 'ca'] as const) copyFileSync(files[key], join(at, `b.${key}`)) }
  const toml = (host: string, port: number, files: HostFiles, peer: string, peerPort: number): string =>
    `[host]\nname = "${host}"\ncontrol_socket = "${host}.ctl"\n[region]\npath = "${host}.region"\nsize = "12MiB"\nsegment_size = "2MiB"\n[replication]\nlisten = "127.0.0.1:${port}"\n` +
    `certificate = "${files.certificate}"\nkey = "${files.key}"\nca = "${files.ca}"\n[[peer]]\nname = "${peer}"\naddress = "127.0.0.1:${peerPort}"\n`
  put(of)
  writeFileSync(join(at, 'a.toml'), toml('a', portA!, a, 'b', portB!))
  writeFileSync(join(at, 'b.toml'), toml('b', portB!, { certificate: 'b.certificate', key: 'b.key', ca: 'b.ca' }, 'a', portA!))
  const daemons = { a: start(t, ['serve', '--config', 'a.toml'], at), b: start(t, ['serve', '--config', 'b.toml'], at) }
  await Promise.all(Object.values(daemons).map((daemon) => daemon.says('holdfast: host ')))
  const control = new ControlClient(join(at, 'a.ctl'))
  return { ...daemons, put, linked: async () => (await control.status()).peers.every(({ dialed, accepted }) => dialed && accepted) }
}

const says = (daemon: Running, sentence: RegExp): Promise<true> => until(`${sentence} in ${daemon.child.pid}`, 15_000, () => sentence.test(daemon.heard) || null)

t.test('expired: both sides say so, and a reload with a new one connects them', async (t) => {
  const { a, b: second, put, linked } = await pair(t, 'expired', old)
  await says(a, /b cannot be reached at wss:.*: its certificate has expired; issue it a new one with "holdfast pki issue", and reload the daemon there\n/)
  await says(a, /refused (127\.0\.0\.1|a connection): its certificate has expired; issue it a new one/)
  await says(second, /a cannot be reached at wss:.*: it breaks off; if it refuses this host's certificate, its log says why\n/)
  t.notOk(await linked())
  t.equal(a.heard.split('its certificate has expired').length - 1, 2, 'once for each direction, not at every try')
  put(b)
  second.child.kill('SIGHUP')
  await until('both directions', 15_000, linked)
  put(foreign)
  second.child.kill('SIGHUP')
  await says(second, /b\.toml was read again[^]*b\.toml was read again/)
  t.ok(await linked(), 'connections that are up stay')
  put({ ...b, certificate: a.child.spawnfile })
  second.child.kill('SIGHUP')
  await says(second, /the configuration was not read again: replication\.certificate = ".*b\.certificate" cannot be used: /)
})

t.test('another cluster\'s', async (t) => {
  const { a, b: second, linked } = await pair(t, 'foreign', foreign)
  const sentence = /cannot be reached at wss:.*: its certificate is not from this cluster's authority \(replication\.ca\); issue it one with "holdfast pki issue" where that authority is\n/
  await says(a, sentence)
  await says(second, sentence)
  await says(a, /refused (127\.0\.0\.1|a connection): it broke off; if it refuses this host's certificate, its own log says why\n/)
  t.notOk(await linked())
})
