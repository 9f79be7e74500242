import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig, parseConfig } from '../../lib/config/load.js'
import { EXIT, Failure } from '../../lib/core/failure.js'

const HOST = '[host]\nname = "a"\n[region]\npath = "/nvme/region"\n'
const PEER = '[replication]\nlisten = "127.0.0.1:7400"\ninsecure = true\n[[peer]]\nname = "b"\naddress = "127.0.0.1:7401"\n'
const VOLUME = '[[volume]]\nname = "db01"\nbacking = "/san/db01.raw"\nsocket = "/run/db01.sock"\n'

/** The problems, one a line, without the file name that begins each. */
function problems(text: string): string[] {
  try {
    parseConfig(text, 'h.toml')
    return []
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== EXIT.config) throw error
    return error.message.split('\n').map((line) => {
      if (!line.startsWith('h.toml')) throw new Error(`a problem without its file: ${line}`)
      return line.replace(/^h\.toml: /, '')
    })
  }
}

t.test('the smallest configuration, and every default', async (t) => {
  t.same(parseConfig(HOST, '/etc/h.toml'), {
    host: { name: 'a', control_socket: '/run/holdfast/control.sock', low_latency: false }, region: { path: '/nvme/region', segment_size: 16777216, verify: true },
    replication: undefined, cluster: {}, peer: [], volume: [], danger_zone: { enabled: false, backing: {} },
    timing: { renew: 2000, fail_after: 10_000, dead_after: 20_000, quarantine: 60_000, peer_deadline: 5000, slow_peer: 200, power_loss_wait: 120_000 },
  })
  t.same(parseConfig(HOST + PEER + VOLUME, '/etc/h.toml').volume, [{
    name: 'db01', backing: '/san/db01.raw', socket: '/run/db01.sock', policy: 'write-back', copies: 1, durability: 'flush', block_size: 512,
    read_only: false, discard: true, limit_burst: 1000, destage_delay: 1000, destage_at: 67108864, guard: true, read_cache: true,
  }])
})

t.test('relative paths count from the file, not from where the daemon was started', async (t) => {
  const config = parseConfig(`[host]\nname = "a"\ncontrol_socket = "c"\n[region]\npath = "r"\n` +
    `[replication]\nlisten = "127.0.0.1:7400"\ncertificate = "a.crt"\nkey = "a.key"\nca = "/x/ca.crt"\n[[volume]]\nname = "v"\nbacking = "../v.raw"\nsocket = "s"\n` +
    'claims = "cl"\ncopies = 0\n[danger_zone]\nenabled = true\n[danger_zone.backing.v]\nerror_file = "e"\n', '/etc/holdfast/h.toml')
  t.equal(config.host.control_socket, '/etc/holdfast/c')
  t.equal(config.region.path, '/etc/holdfast/r')
  t.match(config.replication, { certificate: '/etc/holdfast/a.crt', key: '/etc/holdfast/a.key', ca: '/x/ca.crt' })
  t.match(config.volume[0], { backing: '/etc/v.raw', socket: '/etc/holdfast/s', claims: '/etc/holdfast/cl' })
  t.equal(config.danger_zone.backing['v']!.error_file, '/etc/holdfast/e')
})

t.test('a backing in QEMU\'s own words, inline or as sections', async (t) => {
  const rest = VOLUME.replace(/backing = .*\n/, '') + 'claims = "/san/claims"\n'
  const wanted = { blockdev: { driver: 'qcow2', file: { driver: 'file', filename: '/etc/db01.qcow2' }, cache: { 'no-flush': false } } }
  for (const written of [
    'backing = { blockdev = { driver = "qcow2", file = { driver = "file", filename = "db01.qcow2" }, cache = { no-flush = false } } }\n',
    '[volume.backing.blockdev]\ndriver = "qcow2"\ncache.no-flush = false\n[volume.backing.blockdev.file]\ndriver = "file"\nfilename = "../etc/db01.qcow2"\n',
  ]) t.same(parseConfig(HOST + PEER + rest + written, '/etc/h.toml').volume[0]!.backing, wanted)
})

t.test('an unknown key is refused with the nearest known one, in every section', async (t) => {
  for (const [text, problem] of [
    [`${HOST}sise = "3GiB"`, 'region.sise is not a key here; did you mean size?'],
    [`${HOST}colour = 1`, 'region.colour is not a key here; the keys are path, size, segment_size, verify, scrub_every'],
    [`${HOST}[volumes]`, 'volumes is not a key here; did you mean volume?'],
    [`${HOST}${PEER}${VOLUME}blockSize = 512`, 'volume[db01].blockSize is not a key here; did you mean block_size?'],
    [`${HOST}${PEER}adress = "x:1"`, 'peer[b].adress is not a key here; did you mean address?'],
    [`${HOST}[timing]\nrenewal = "2s"`, 'timing.renewal is not a key here; did you mean renew?'],
    [`${HOST}[danger_zone.backing.db01]\nreaddelay = "1s"`, 'danger_zone.backing.db01.readdelay is not a key here; did you mean read_delay?'],
  ] as const) t.same(problems(text), [problem])
})

t.test('a wrong value is named with its key and what is legal', async (t) => {
  for (const [text, problem] of [
    [`${HOST}size = "4KiB"`, 'region.size = "4KiB" must be a size from 5MiB to 1920GiB, like "16MiB" or "8GiB"'],
    [`${HOST}size = 17`, 'region.size = 17 must be a size from 5MiB to 1920GiB, like "16MiB" or "8GiB"'],
    [`${HOST}[timing]\nrenew = "2"`, 'timing.renew = "2" must be a duration from 50ms to 60s, like "500ms" or "2s"'],
    [`${HOST}[timing]\nrenew = "61s"`, 'timing.renew = "61s" must be a duration from 50ms to 60s, like "500ms" or "2s"'],
    [`${HOST}[replication]\nlisten = "::1:7400"`, 'replication.listen = "::1:7400" must be "host:port" or "[ipv6]:port", with a port from 1 to 65535'],
    [`${HOST}${PEER}${VOLUME}copies = 3`, 'volume[db01].copies = 3 must be a whole number from 0 to 2'],
    [`${HOST}${PEER}${VOLUME}copies = 0.5`, 'volume[db01].copies = 0.5 must be a whole number from 0 to 2'],
    [`${HOST}${PEER}${VOLUME}policy = "writeback"`, 'volume[db01].policy = "writeback" must be "write-back" or "write-through"'],
    [`${HOST}${PEER}${VOLUME}`.replace('"/san/db01.raw"', '{ driver = "qcow2" }'),
      'volume[db01].backing must be a path, or a table with blockdev, which has a driver, in QEMU\'s words: { blockdev = { driver = "nbd", ... } }'],
    [`${HOST}${PEER}${VOLUME}block_size = 1024`, 'volume[db01].block_size = 1024 must be 512 or 4096'],
    [`${HOST}${PEER}${VOLUME}guard = "no"`, 'volume[db01].guard = "no" must be true or false'],
    [`${HOST}${PEER}${VOLUME}serial = "a b"`, 'volume[db01].serial = "a b" must be at most 20 printable ASCII characters without a space'],
    ['[host]\nname = "A"\n[region]\npath = "r"', 'host.name = "A" must be a host id: small letters, digits and "-", at most 63'],
    ['[host]\nname = "a"\n[region]\npath = ""', 'region.path = "" must be a path'],
    ['[host]\nname = "a"\n[region]\n', 'region.path is missing; it must be a path'],
    ['[host]\nname = "a"', 'region is missing; it must be a section, [region]'],
    [`${HOST}[peer]\nname = "b"`, 'peer must be written as [[peer]], once for each'],
    [`${HOST}[danger_zone.backing.db01]\nerror_rate = 2`, 'danger_zone.backing.db01.error_rate = 2 must be a number from 0 to 1'],
  ] as const) t.same(problems(text), [problem])
})

t.test('all problems are told at once', async (t) => {
  t.same(problems('[host]\nname = "A"\n[[volume]]\nbacking = "/x"\nsocket = "/s"\ncopies = 9').map((p) => p.split(' ')[0]),
    ['host.name', 'region', 'volume[1].name', 'volume[1].copies'])
})

t.test('text that is no TOML is refused with its line', async (t) => {
  t.same(problems(`${HOST}size = \n`), ['h.toml, line 5: not TOML: invalid value'])
  t.match(problems(`${HOST}[host]\n`), [/^h\.toml, line 5: not TOML: /], 'a section twice')
})

t.test('files that cannot be read', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hf-config-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const missing = join(directory, 'none.toml'), file = join(directory, 'h.toml')
  t.throws(() => loadConfig(missing), { exitCode: EXIT.config, message: `configuration ${missing} cannot be read: there is no such file; docs/configuration.md has one to start from` })
  t.throws(() => loadConfig(directory), { exitCode: EXIT.config, message: /cannot be read: EISDIR/ })
  writeFileSync(file, HOST)
  t.equal(loadConfig(file).host.name, 'a')
})
