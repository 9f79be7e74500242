/** Hosts where one thing is wrong: it is found, nothing else is, and what to do is said. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { isFixed } from '../../lib/backing/fuse.js'
import { examine } from '../../lib/doctor/doctor.js'
import { Child } from '../../fixtures/lab/process.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, freePorts, until } from '../../fixtures/lab/workspace.js'
import { start, workDirectory } from '../cli/holdfast.js'
import { finds, written } from './lab.js'

t.test('the region: no folder, no size, no room, another host\'s, too short, no region at all', async (t) => {
  const directory = workDirectory(t)
  const region = (text: string): string => written(directory, { region: `${text}\nsegment_size = "8MiB"` })
  await finds(t, region('path = "none/region"\nsize = "64MiB"'), 'region', /the folder of region.path = ".*none\/region" does not exist/, /mkdir -p/)
  await finds(t, region('path = "region"'), 'region', /does not exist, and no size is given/, /set region.size/)
  await finds(t, region('path = "region"\nsize = "1920GiB"'), 'region', /is to have 1.9 TiB, and .* are free there/, /make room/)
  await finds(t, region('path = "region"\nsize = "16MiB"'), 'region', /region.size = 16777216 bytes cannot be used with segments of 8388608/, /choose from/)
  const daemon = start(t, ['serve', '--config', written(directory)], directory)
  await daemon.says('holdfast: host a')
  await daemon.stop()
  await finds(t, written(directory, { host: 'b' }), 'region', /belongs to host "a", and host.name is "b"/, /a region of its own/)
  truncateSync(join(directory, 'region'), 2 ** 24)
  await finds(t, written(directory), 'region', /has 16777216 bytes, and its superblock says/, /put the missing part back/)
  writeFileSync(join(directory, 'region'), Buffer.alloc(2 ** 20, 7))
  await finds(t, written(directory), 'region', /something that is not a Holdfast region/, /choose another path/)
})

t.test('the image: none, two, empty, of an odd size, and a socket without a folder', async (t) => {
  const directory = workDirectory(t), image = join(directory, 'db01.raw')
  await finds(t, written(directory, { volume: 'backing = "none.raw"\n' }), 'volume db01', /none.raw cannot be opened: there is no such file/, /mount the shared storage/)
  const config = written(directory)
  writeFileSync(`${image}.holdfast`, '')
  await finds(t, config, 'volume db01', /both .*db01.raw and .*db01.raw.holdfast exist/, /if .* was restored on purpose/)
  rmSync(`${image}.holdfast`)
  truncateSync(image, 0)
  await finds(t, config, 'volume db01', /has 0 bytes, not one block of 512/, /the size that the guest's disk is to have/)
  truncateSync(image, 1000)
  t.match((await examine(config)).find(({ text }) => text.includes('the last 488 are not shown to the guest')), { level: 'warn', remedy: /^make it larger/ })
  truncateSync(image, 2 ** 22)
  writeFileSync(config, `[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "64MiB"\nsegment_size = "8MiB"\n[[volume]]\nname = "db01"\nsocket = "none/db01.sock"\nbacking = "db01.raw"\ncopies = 0\n`)
  await finds(t, config, 'volume db01', /the folder .*\/none of its socket does not exist/, /mkdir -p/)
})

t.test('no place for the claim or the journal', async (t) => {
  const directory = workDirectory(t)
  writeFileSync(join(directory, 'file'), '')
  await finds(t, written(directory, { volume: 'claims = "file/claims"\n' }), 'volume db01', /the claim directory .*file\/claims cannot be used: ENOTDIR/, /mount the shared storage, or set claims/)
  await finds(t, written(directory, { volume: `journal = "${directory}/file/journal"\n` }), 'volume db01', /its journal cannot be written in .*file\/journal: ENOTDIR/, /set journal to a folder/)
  const before = readdirSync(directory)
  t.same((await examine(written(directory, { volume: 'claims = "new/deep/claims"\n' }))).filter(({ level }) => level === 'fail'), [])
  t.same(readdirSync(directory), before, 'folders that were made for the test are gone')
  mkdirSync(join(directory, 'claims'))
  t.same((await examine(written(directory, { volume: 'claims = "claims"\n' }))).filter(({ level }) => level === 'fail'), [])
  t.same(readdirSync(join(directory, 'claims')), [])
})

t.test('a qcow2 image in QEMU\'s words, and without a place for its journal', { skip: requires('qemu-storage-daemon', 'qemu-img') }, async (t) => {
  const directory = workDirectory(t), path = join(directory, 'db01.qcow2')
  spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '8M'])
  const volume = 'claims = "claims"\nbacking = { blockdev = { driver = "qcow2", file = { driver = "file", filename = "db01.qcow2" } } }\n'
  await finds(t, written(directory, { volume }), 'volume db01', /is no file, so there is no place beside it for the journal/, /^set journal to a folder/)
  const findings = await examine(written(directory, { volume: `${volume}order = "flush"\n` }))
  t.notOk(findings.some(({ level }) => level === 'fail'))
  t.match(findings.filter(({ about }) => about === 'volume db01').map(({ text }) => text), [/^qemu-storage-daemon \d+\./, /8 MiB, through a qemu-storage-daemon/, /claims in/])
  rmSync(path)
  await finds(t, written(directory, { volume: `${volume}order = "flush"\n` }), 'volume db01', /cannot be opened: qemu-storage-daemon says/, /.+/)
})

t.test('peers: one that answers, one where nobody listens, one that is not there; and an address that is taken', async (t) => {
  const directory = workDirectory(t), [listen, up, down] = await freePorts(3)
  const server = createServer().listen(up, '127.0.0.1')
  t.teardown(() => { server.close() })
  const peer = (name: string, address: string): string => `[[peer]]\nname = "${name}"\naddress = "${address}"\n`
  const config = (at: number | undefined, peers: string): string => written(directory, { more: `[replication]\nlisten = "127.0.0.1:${at}"\ninsecure = true\n${peers}` })
  const findings = await examine(config(listen, peer('b', `127.0.0.1:${up}`) + peer('c', `127.0.0.1:${down}`)))
  t.notOk(findings.some(({ level }) => level === 'fail'), 'a daemon that is not started there is no fault of this host')
  t.match(findings.filter(({ about }) => about.startsWith('peer')), [{ level: 'ok', text: /answers, after/ }, { about: 'peer c', level: 'warn', text: `nobody listens at 127.0.0.1:${down}` }])
  t.match(findings.find(({ about }) => about === 'certificate'), { level: 'warn', text: /neither encrypted nor authenticated/ })
  await finds(t, config(listen, peer('b', 'no-such-host.invalid:7400')), 'peer b', /no-such-host.invalid:7400 cannot be reached: /, /put the address in \[\[peer\]\] right/)
  await finds(t, config(up, ''), 'network', /cannot be listened on: .*EADDRINUSE/, /stop the program that has this port/)
})

t.test('the place of the record of members', async (t) => {
  const directory = workDirectory(t), [port] = await freePorts(1), more = `[cluster]\nstore = "shared"\n[replication]\nlisten = "127.0.0.1:${port}"\ninsecure = true\n`
  const findings = await examine(written(directory, { more }))
  t.match(findings.filter(({ about }) => about === 'members'), [{ level: 'ok', text: /shared/ }])
  writeFileSync(join(directory, 'shared'), 'x')
  await finds(t, written(directory, { more }), 'members', /shared is no lease volume/, /.+/)
})

const skipFuse = process.getuid?.() === 0 ? requires('/dev/fuse', 'qemu-storage-daemon') : 'needs root'
t.test('an image behind QEMU\'s FUSE export', { skip: skipFuse, timeout: 40_000 }, async (t) => {
  const version = /version (\d+(?:\.\d+)+)/.exec(spawnSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8' }).stdout)![1]!
  const work = new Workspace('doctor-fuse'), point = work.file('db01.raw')
  t.teardown(() => work.close())
  writeFileSync(point, '')
  const child = new Child('qemu-storage-daemon', [
    '--blockdev', `file,node-name=f,filename=${work.image('disk.raw', 2 ** 20)}`, '--export', `fuse,id=e,node-name=f,mountpoint=${point},writable=on`,
  ], work.file('qsd.log'))
  work.onClose(async () => {
    spawnSync('umount', ['-l', point])
    await child.kill9()
  })
  await until('the mount', 10_000, () => readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${point} `))
  const found = (await examine(written(work.path))).filter(({ level }) => level === 'fail')
  t.match(found, isFixed(version) ? { length: 0 } : [{ about: 'volume db01', text: /is the FUSE export of a qemu-storage-daemon .* stores wrong bytes/, remedy: /^give Holdfast what that daemon opens instead/ }])
})
