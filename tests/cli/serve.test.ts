import { chmodSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import type { HostStatus } from '../../lib/ports/control.js'
import { STATUS } from '../../lib/ports/guest.js'
import { holdfast, start, workDirectory } from './holdfast.js'

const region = (more = ''): string => `[region]\npath = "region"\nsize = "12MiB"\nsegment_size = "2MiB"\n${more}`
const host = (name = 'a'): string => `[host]\nname = "${name}"\ncontrol_socket = "ctl"\n`
const volume = '[[volume]]\nname = "db01"\nbacking = "db01.raw"\nsocket = "db01.sock"\ncopies = 0\n'

function image(directory: string): string {
  const path = join(directory, 'db01.raw')
  writeFileSync(path, '')
  truncateSync(path, 2 ** 20)
  return path
}

t.test('a host serves, answers commands, and stops cleanly', async (t) => {
  const directory = workDirectory(t)
  image(directory)
  const config = join(directory, 'h.toml')
  writeFileSync(config, host() + region() + volume)
  const daemon = start(t, ['serve', '--config', 'h.toml'], directory)
  await daemon.says(`holdfast: host a serves db01; control socket ${directory}/ctl\n`)

  const json = await holdfast('status', '--config', config, '--json')
  t.equal(json.code, EXIT.done)
  const status = JSON.parse(json.stdout) as HostStatus
  t.match(status, { host: 'a', region: { path: join(directory, 'region') }, peers: [], volumes: [{ name: 'db01', phase: 'standby', dirtyBytes: 0 }] })
  t.match((await holdfast('status', '--control', join(directory, 'ctl'))).stdout, /^host a \([0-9a-f]{8}\), holdfast [\d.]+\n {2}region {2}/)

  const unknown = await holdfast('volume', 'flush', 'db02', '--config', config)
  t.same(unknown, { code: EXIT.usage, stdout: '', stderr: 'holdfast: no volume db02 on this host; there are: db01\n' })
  const idle = await holdfast('volume', 'flush', 'db01', '--control', join(directory, 'ctl'))
  t.equal(idle.code, EXIT.unsafe)
  t.match(idle.stderr, /^holdfast: volume db01 is not owned by this host/)

  const { code } = await daemon.stop()
  t.equal(code, EXIT.done)
  t.notOk(existsSync(join(directory, 'ctl')), 'the control socket is gone')
  t.match(await holdfast('status', '--config', config), { code: EXIT.unreachable, stderr: `holdfast: no daemon answers on ${directory}/ctl (there is no such socket); is "holdfast serve" running, and is this its control socket?\n` })
})

t.test('errors that a guest was shown are told', async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  image(directory)
  writeFileSync(config, host() + region() + volume)
  await start(t, ['serve', '--config', 'h.toml'], directory).says('holdfast: host a serves db01')
  const client = await VhostClient.connect(join(directory, 'db01.sock'))
  t.equal(await client.submit({ kind: 'read', lbaSectors: 2 ** 20 / 512, lengthSectors: 8, bufferOffset: 0 }), STATUS.ioError)
  await client.close()
  t.match((await holdfast('status', '--config', config)).stdout, /^ {2}ERRORS +1 shown to the guest, 0 from the backing$/m)
})

t.test('a second daemon on the same region or control socket is refused, and the first one goes on', async (t) => {
  const directory = workDirectory(t)
  writeFileSync(join(directory, 'h.toml'), host() + region())
  writeFileSync(join(directory, 'other.toml'), host('b') + region().replace('"region"', '"region2"'))
  const daemon = start(t, ['serve', '--config', 'h.toml'], directory)
  await daemon.says('holdfast: host a serves no volumes, only copies of others')
  const same = await holdfast('serve', '--config', join(directory, 'h.toml'))
  t.equal(same.code, EXIT.unsafe)
  t.match(same.stderr, `holdfast: region ${directory}/region is in use by another process; one daemon has one region\n`)
  const other = await holdfast('serve', '--config', join(directory, 'other.toml'))
  t.equal(other.code, EXIT.unsafe)
  t.match(other.stderr, `holdfast: another daemon answers on ${directory}/ctl; stop it, or give this one another host.control_socket\n`)
  t.equal((await holdfast('status', '--config', join(directory, 'h.toml'))).code, EXIT.done)
})

t.test('bad input: one sentence, its exit code, and nothing written', async (t) => {
  const directory = workDirectory(t)
  const config = join(directory, 'h.toml'), key = join(directory, 'a.key')
  writeFileSync(key, '')
  const replication = `[replication]\nlisten = "127.0.0.1:1"\ncertificate = "none.crt"\nkey = "a.key"\nca = "ca.crt"\n`
  for (const [text, code, sentence] of [
    [`${host()}${region('sise = "1GiB"')}`, EXIT.config, `${config}: region.sise is not a key here; did you mean size?`],
    [`${host('A')}${region('segments = 3')}`, EXIT.config, [`${config}: host.name = "A" must be a host id: small letters, digits and "-", at most 63`,
      `holdfast: ${config}: region.segments is not a key here; the keys are path, size, segment_size`].join('\n')],
    [host() + region() + replication, EXIT.config, `replication.certificate = "${directory}/none.crt" cannot be read: `],
    [`${host()}[region]\npath = "region"\n`, EXIT.config, `region ${directory}/region does not exist and no size is given; set region.size (or --cache-size) to have it created`],
    [`${host()}[region]\npath = "region"\nsize = "5MiB"\n`, EXIT.config, `region ${directory}/region: 5242880 bytes is smaller than its superblocks and two segments of 16777216 bytes`],
  ] as const) {
    writeFileSync(config, text)
    const outcome = await holdfast('serve', '--config', config)
    t.equal(outcome.code, code, sentence)
    t.ok(outcome.stderr.startsWith(`holdfast: ${sentence}`), outcome.stderr)
    t.equal(outcome.stdout, '')
    t.notOk(existsSync(join(directory, 'region')), 'nothing written')
  }
})

t.test('a certificate that may not be read', process.getuid?.() === 0 ? { skip: 'root may read everything' } : {}, async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  for (const file of ['a.crt', 'a.key', 'ca.crt']) writeFileSync(join(directory, file), '')
  chmodSync(join(directory, 'a.key'), 0)
  writeFileSync(config, `${host()}${region()}[replication]\nlisten = "127.0.0.1:1"\ncertificate = "a.crt"\nkey = "a.key"\nca = "ca.crt"\n`)
  t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: /^holdfast: replication.key = ".*a.key" cannot be read: EACCES/ })
})

t.test('a region of another host, an image that is not there', async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  writeFileSync(config, host() + region())
  const daemon = start(t, ['serve', '--config', 'h.toml'], directory)
  await daemon.says('holdfast: host a')
  await daemon.stop()
  const before = readFileSync(join(directory, 'region'))
  writeFileSync(config, host('b') + region())
  t.match(await holdfast('serve', '--config', config), {
    code: EXIT.config, stderr: `holdfast: region ${directory}/region belongs to host "a", and this is "b"; give each host a region of its own (nothing was changed)\n`,
  })
  t.ok(before.equals(readFileSync(join(directory, 'region'))))
  writeFileSync(config, host() + region() + volume)
  t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: new RegExp(`holdfast: .*${directory}/db01.raw cannot be opened: there is no such file`) })
  t.notOk(existsSync(join(directory, 'ctl')))
})

t.test('both names of an image', async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  const path = image(directory)
  writeFileSync(`${path}.holdfast`, '')
  writeFileSync(config, host() + region() + volume)
  t.match(await holdfast('serve', '--config', config), { code: EXIT.unsafe, stderr: `holdfast: both ${path} and ${path}.holdfast exist, and only one can be the image` })
  t.equal(statSync(path).size, 2 ** 20)
})
