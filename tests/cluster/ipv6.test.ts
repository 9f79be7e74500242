/** Hosts that reach each other by IPv6, and by another address than the one that they listen on. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { initCluster, issueHost } from '../../lib/pki/pki.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { DiskModel, MODEL_BUFFER_BYTES } from '../volume/disk-model.js'
import { lab } from '../volume/lab.js'

const SECTORS = 2049, buffer = { bufferBytes: MODEL_BUFFER_BYTES }
const skip = Object.values(networkInterfaces()).flat().some((each) => each?.address === '::1') ? false : 'not here: the address ::1 (IPv6 is switched off on this machine)'
/** What starts the program is as on every host. */
const on = (address: (host: string) => string) => ({ address, binary: () => new URL('../../../bin/holdfast', import.meta.url).pathname })

t.test('copies, the death of the owner and the takeover, over [::1] with TLS', { skip, timeout: 60_000 }, async (t) => {
  const { cluster } = await lab(t, 'ipv6', SECTORS * 512, { network: on(() => '[::1]'), volume: 'destage_delay = "1h"' })
  await cluster.start()
  t.match((await cluster.host('a').status()).peers, [{ host: 'b', address: cluster.addresses.get('b')!, dialed: true, accepted: true }])
  t.match(cluster.addresses.get('b'), /^\[::1\]:\d+$/)
  const client = await VhostClient.connect(cluster.socket('a'), buffer), model = new DiskModel(SECTORS, 4711)
  await model.run(client, 150)
  t.same((await cluster.host('a').volume('db01')).set, ['a', 'b'])
  await cluster.host('a').kill9()
  await client.close()
  const next = await VhostClient.connect(cluster.socket('b'), buffer)
  t.same(model.settle(await model.readAll(next)), [])
  t.same(model.wrong, [])
  await next.close()
  const doctor = await holdfast('doctor', '--config', cluster.host('a').config)
  t.match(doctor.stdout, new RegExp(`peer b.*${cluster.addresses.get('b')!.replace(/[[\]]/g, '\\$&')} answers`))
})

t.test('a host that listens on [::] is reached by IPv6 and by IPv4', { skip, timeout: 60_000 }, async (t) => {
  const { cluster } = await lab(t, 'dual', SECTORS * 512, {
    hosts: ['a', 'b', 'c'], network: on((host) => host === 'b' ? '[::1]' : '127.0.0.1'),
    replication: (host, port) => host === 'c' ? `listen = "127.0.0.1:${port}"\n` : `listen = "[::]:${port}"\n`,
  })
  await cluster.start()
  for (const [host, other] of [['b', 'a'], ['a', 'b'], ['c', 'b']] as const) {
    t.match((await cluster.host(host).status()).peers.find((peer) => peer.host === other), { address: cluster.addresses.get(other)!, dialed: true, accepted: true })
  }
})

t.test('certificates: addresses as people write them, and what is no address', async (t) => {
  const work = new Workspace('san'), pki = work.file('pki')
  t.teardown(() => work.close())
  mkdirSync(pki)
  await initCluster(pki)
  const { certificate } = await issueHost(pki, 'hv07', ['[2001:db8::7]', '2001:db8::8', '10.0.0.7', 'hv07.example.org'])
  const shown = execFileSync('openssl', ['x509', '-in', certificate, '-noout', '-ext', 'subjectAltName'], { encoding: 'utf8' })
  t.match(shown, 'DNS:hv07, IP Address:2001:DB8:0:0:0:0:0:7, IP Address:2001:DB8:0:0:0:0:0:8, IP Address:10.0.0.7, DNS:hv07.example.org')
  for (const bad of ['10.0.0.7:7400', '[2001:db8::7]:7400', '[hv07]:1', 'a,DNS:other', '', 'fe80::1%eth0']) {
    t.match(await holdfast('pki', 'issue', pki, 'hv08', bad), { code: EXIT.usage, stderr: /is neither a name nor an IP address/ }, bad)
  }
  t.throws(() => readFileSync(`${pki}/hv08.key`), { code: 'ENOENT' })
})
