/** What often goes wrong at a start: one sentence each, that says what, where and what to do, and its exit code. */
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { initCluster, issueHost } from '../../lib/pki/pki.js'
import { freePorts } from '../../fixtures/lab/workspace.js'
import { expired } from '../peer/old-certificate.js'
import { holdfast, start, workDirectory } from './holdfast.js'

const directory = workDirectory(t), config = join(directory, 'h.toml'), ours = join(directory, 'ours'), theirs = join(directory, 'theirs')
await initCluster(ours)
await initCluster(theirs)
const good = await issueHost(ours, 'a', []), other = await issueHost(ours, 'b', []), foreign = await issueHost(theirs, 'a', [])
const taken = createServer().listen(0, '127.0.0.1')
await new Promise((resolve) => taken.once('listening', resolve))
t.teardown(() => taken.close())
const [portA, portB] = await freePorts(2)
const takenPort = (taken.address() as { port: number }).port

interface Start { readonly size?: string; readonly port?: number; readonly certificate?: string; readonly key?: string; readonly ca?: string; readonly more?: string }
const text = ({ size = '12MiB', port = 1, certificate = good.certificate, key = good.key, ca = good.ca, more = '' }: Start): string =>
  `[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "${size}"\nsegment_size = "2MiB"\n[replication]\nlisten = "127.0.0.1:${port}"\ncertificate = "${certificate}"\nkey = "${key}"\nca = "${ca}"\n${more}`

const TABLE: readonly (readonly [what: string, start: Start, exitCode: number, sentence: string])[] = [
  ['bad configuration', { more: '[[volume]]\nname = "db01"\nbacking = "x.raw"\nsocket = "s"\ncopies = 3\n' }, EXIT.config, `${config}: volume[db01].copies = 3 must be a whole number from 0 to 2`],
  ['not TOML', { more: 'copies 3' }, EXIT.config, `${config}, line 13: not TOML: `],
  ['wrong certificate: another host\'s', { certificate: other.certificate, key: other.key }, EXIT.config,
    `replication.certificate = "${other.certificate}" is that of b, and host.name is a; issue one with "holdfast pki issue DIRECTORY a"`],
  ['wrong key', { key: other.key }, EXIT.config, `replication.key = "${other.key}" is not the key of ${good.certificate}; name the two files that belong together`],
  ['no certificate at all', { certificate: config }, EXIT.config, `replication.certificate = "${config}" cannot be used: `],
  ['another cluster\'s certificate', { certificate: foreign.certificate, key: foreign.key }, EXIT.config,
    `replication.certificate = "${foreign.certificate}" was not issued by ${good.ca}, so it is another cluster's; give all hosts the same authority, and certificates from it`],
  ['full disk', { size: '1900GiB' }, EXIT.config, `region ${directory}/region does not fit on its disk: it is to have ${1900 * 2 ** 30} bytes, and `],
  ['port in use', { port: takenPort }, EXIT.config, `cannot listen on 127.0.0.1:${takenPort}: listen EADDRINUSE: address already in use 127.0.0.1:${takenPort}; choose another address in replication.listen`],
]

for (const [what, from, exitCode, sentence] of TABLE) {
  t.test(what, async (t) => {
    writeFileSync(config, text(from))
    const { code, stdout, stderr } = await holdfast('serve', '--config', config)
    const said = stderr.split('\n').filter((line) => line.startsWith('holdfast: '))
    t.equal(code, exitCode)
    t.equal(stdout, '')
    t.equal(said.length, 1, stderr)
    t.ok(said[0]?.startsWith(`holdfast: ${sentence}`), said[0])
    t.ok(!/internal error|^ +at /m.test(stderr), stderr)
    if (what === 'full disk') t.notOk(existsSync(join(directory, 'region')), 'and nothing is left of it')
  })
}

t.test('expired certificate: said, and guests are served all the same', async (t) => {
  writeFileSync(config, text({ certificate: expired(ours, 'a'), port: portA! }))
  const daemon = start(t, ['serve', '--config', config], directory)
  await daemon.says('holdfast: host a serves')
  t.match(daemon.heard, /replication\.certificate = ".*old-a\.crt" expired on 2021-01-02, and this host's clock says 20..-..-..: peers refuse this host until it has another one; issue one with "holdfast pki issue DIRECTORY a", then reload the daemon/)
})

t.test('two daemons on one region', async (t) => {
  writeFileSync(config, text({ port: portB! }).replace('"region"', '"one"'))
  await start(t, ['serve', '--config', config], directory).says('holdfast: host a serves')
  copyFileSync(config, join(directory, 'second.toml'))
  writeFileSync(join(directory, 'second.toml'), readFileSync(config, 'utf8').replace('"ctl"', '"ctl2"'))
  t.same(await holdfast('serve', '--config', join(directory, 'second.toml')), { code: EXIT.unsafe, stdout: '', stderr: `holdfast: region ${directory}/one is in use by another process; one daemon has one region\n` })
})
