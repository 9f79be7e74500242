import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { BlockdevBacking } from '../../lib/backing/blockdev/blockdev-backing.js'
import { SHARED_BUFFER_BYTES } from '../../lib/backing/blockdev/buffers.js'
import { EXIT } from '../../lib/core/failure.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { flushBacking, operation } from '../../lib/io/operation.js'
import { NbdServer } from '../../fixtures/lab/nbd.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { until } from '../../fixtures/lab/workspace.js'
import { ModelDisk, SIZE, contentOf, crash, daemonPid, errnoOf, isAlive, lab, open, qcow2 } from './blockdev-lab.js'

const skip = requires('qemu-storage-daemon', 'qemu-img')
const skipNbd = requires('qemu-storage-daemon', 'qemu-img', 'nbdkit')
const EIO = 5, EROFS = 30, MIB = 1024 * 1024

t.test('qcow2: what is written, zeroed and flushed is what QEMU sees in the image', { skip }, async (t) => {
  const here = lab(t), { path, node } = qcow2(here.work)
  const backing = await open(t, here, node)
  t.match({ size: backing.sizeBytes, discards: backing.discards, path: backing.path }, { size: SIZE, discards: true, path: `qcow2 on ${path}` })
  await backing.attachNow()
  const disk = new ModelDisk(t, backing)
  // Longer than any buffer or zeroing, at odd sectors, and more at a time than there are buffers.
  await Promise.all([disk.put(512, 5 * MIB + 512, 1), disk.put(9 * MIB, MIB, 1), ...Array.from({ length: 600 }, (_, i) => disk.put(16 * MIB + i * 4096, 4096, i))])
  await Promise.all([disk.put(MIB + 512, 3 * MIB, 0, true), disk.put(9 * MIB + 512, 512, 0, true), disk.put(11 * MIB, 20 * MIB + 512, 0, true)])
  t.equal(backing.outstandingWrites, 0)
  t.ok((await disk.read(0, SIZE)).equals(disk.model), 'as one read')
  t.ok((await disk.read(511 * 512, 3 * 512)).equals(disk.wanted(511 * 512, 3 * 512)), 'and at odd sectors')
  await flushBacking(backing)
  t.equal(backing.errorGeneration, 0)
  await backing.detach()
  t.ok(contentOf(here.work, path, 'qcow2').equals(disk.model))
})

t.test('a durable write is flushed before it completes', { skip }, async (t) => {
  const here = lab(t), { path, node } = qcow2(here.work)
  const backing = await open(t, here, node), memory = new AlignedMemory(4096)
  t.teardown(() => memory.free())
  await backing.attachNow()
  memory.bytes.fill(7)
  // Of a qcow2 image nothing is found again that was not flushed: its tables are in the daemon's memory until then.
  await operation((target) => backing.write(memory.address, 4096, 8192, true, target, 0))
  process.kill(daemonPid(here.run), 'SIGKILL')
  await backing.detach()
  t.ok(contentOf(here.work, path, 'qcow2').subarray(8192, 12288).every((byte) => byte === 7))
})

t.test('the daemon is killed under load, again and again: reads wait, and what was flushed is there', { skip }, async (t) => {
  const here = lab(t), { path, node } = qcow2(here.work)
  const backing = await open(t, here, node)
  await backing.attachNow()
  const disk = new ModelDisk(t, backing)
  await disk.put(0, MIB, 0)
  await disk.settle()
  for (let round = 1; round <= 4; round++) {
    const reads = Array.from({ length: 64 }, (_, i) => disk.read(i * 8192, 8192))
    const writes = Array.from({ length: 64 }, (_, i) => disk.put(2 * MIB + i * 256 * 1024 + round * 512, 128 * 1024, round, (i + round) % 7 === 0))
    t.ok(backing.outstandingWrites > 0, 'under load')
    const generation = backing.errorGeneration
    await crash(here.run)
    await Promise.all(writes)
    const found = await Promise.all(reads)
    t.ok(found.every((bytes, i) => bytes.equals(disk.wanted(i * 8192, 8192))), 'every read was answered, with the right bytes')
    t.ok(backing.errorGeneration > generation, 'a flush does not vouch for what was written before')
    await disk.settle()
    t.equal(backing.outstandingWrites, 0)
  }
  t.ok((await disk.read(0, SIZE)).equals(disk.model))
  await backing.detach()
  t.ok(contentOf(here.work, path, 'qcow2').equals(disk.model))
  t.ok([0, 3].includes(spawnSync('qemu-img', ['check', '-q', path]).status!), 'nothing is corrupt; clusters may have leaked')
})

t.test('requests that come in the very moment in which a daemon ends', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  const backing = await open(t, here, node), memory = new AlignedMemory(65536)
  t.teardown(() => memory.free())
  await backing.attachNow()
  let stopped = false
  const results: Promise<number>[] = []
  const storm = (): void => {
    if (stopped || results.length > 20_000) return
    for (let i = 0; i < 8; i++) results.push(errnoOf(operation((target) => backing.write(memory.address, 65536, (results.length % 256) * 65536, false, target, 0))))
    results.push(errnoOf(operation((target) => backing.read(memory.address, 4096, 0, target, 0))))
    setImmediate(storm)
  }
  storm()
  for (let i = 0; i < 4; i++) await crash(here.run)
  stopped = true
  t.same([...new Set(await Promise.all(results))].filter((errno) => errno !== 0 && errno !== EIO), [])
  t.equal(backing.outstandingWrites, 0)
  t.equal(await errnoOf(operation((target) => backing.read(memory.address, 4096, 0, target, 0))), 0)
})

t.test('unflushed changes that a daemon took with it show in the next flush, once', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  const backing = await open(t, here, node), disk = new ModelDisk(t, backing)
  await backing.attachNow()
  await disk.put(0, 4096, 1)
  await crash(here.run)
  t.equal(await errnoOf(flushBacking(backing)), EIO)
  t.equal(await errnoOf(flushBacking(backing)), 0)
  const generation = backing.errorGeneration
  await crash(here.run)
  t.ok(backing.errorGeneration > generation, 'each end of a daemon counts')
  t.equal(await errnoOf(flushBacking(backing)), 0, 'but nothing was lost with that one')
})

t.test('R18: a server that was away and has forgotten is noticed, whatever request meets it first', { skip: skipNbd }, async (t) => {
  for (const first of ['flush', 'read', 'zero'] as const) {
    const here = lab(t), server = new NbdServer(here.work, ['memory', String(SIZE)])
    await server.start()
    const backing = await open(t, here, server.node), disk = new ModelDisk(t, backing)
    await backing.attachNow()
    await disk.put(MIB, 64 * 1024, 1)
    const generation = backing.errorGeneration
    await server.kill9()
    await server.start()
    // Until QEMU has connected anew, which it does by itself.
    if (first === 'read') await until('a read to succeed', 10_000, async () => await errnoOf(disk.read(0, 4096)) === 0)
    if (first === 'zero') await until('a zeroing to succeed', 10_000, async () => await errnoOf(operation((target) => backing.zero(2 * MIB, 4096, true, target, 0))) === 0)
    const vouched = await errnoOf(flushBacking(backing)) === 0 && backing.errorGeneration === generation
    t.notOk(vouched, `no flush vouches for what the server forgot (${first} first)`)
    await disk.settle()
    t.ok((await disk.read(0, SIZE)).equals(disk.model), 'so it was written again')
    await backing.detach()
    backing.close()
    await here.work.close()
  }
})

t.test('nbd: an error of the server is an error here, and heals', { skip: skipNbd }, async (t) => {
  const here = lab(t), image = here.work.image('san.raw', SIZE), server = new NbdServer(here.work, ['file', image])
  await server.start()
  const backing = await open(t, here, server.node), disk = new ModelDisk(t, backing)
  await backing.attachNow()
  server.fail()
  const generation = backing.errorGeneration
  await disk.put(0, 3 * MIB, 1)
  t.ok(backing.errorGeneration > generation)
  t.equal(backing.outstandingWrites, 0)
  server.heal()
  await disk.put(8 * MIB, 65536, 2)
  await disk.settle()
  await backing.detach()
  t.ok(readFileSync(image).equals(disk.model))
})

t.test('writes under way to another host count as outstanding until they cannot arrive any more', { skip: skipNbd }, async (t) => {
  const here = lab(t), server = new NbdServer(here.work, ['--filter=delay', 'memory', String(SIZE), 'wdelay=20'])
  await server.start()
  let settled = false
  const backing = await open(t, here, server.node, { settleMs: 3000 }), memory = new AlignedMemory(4096)
  t.teardown(() => memory.free())
  await backing.attachNow()
  const write = errnoOf(operation((target) => backing.write(memory.address, 4096, 0, false, target, 0))).then((errno) => { settled = true; return errno })
  await until('the write to be under way', 5000, () => backing.outstandingWrites === 1)
  await crash(here.run)
  await operation((target) => backing.read(memory.address, 4096, 4096, target, 0))
  t.match({ settled, outstanding: backing.outstandingWrites }, { settled: false, outstanding: 1 }, 'the next daemon serves, and the write is not forgotten')
  t.equal(await write, EIO)
  t.equal(backing.outstandingWrites, 0)
})

t.test('no request waits for ever: a daemon that cannot start', { skip: skipNbd }, async (t) => {
  const here = lab(t), server = new NbdServer(here.work, ['memory', String(SIZE)])
  await server.start()
  const backing = await open(t, here, server.node, { stallMs: 300 }), disk = new ModelDisk(t, backing)
  await server.kill9()
  await backing.attach()
  t.equal(await errnoOf(disk.read(0, 4096)), EIO)
  t.equal(await errnoOf(flushBacking(backing)), EIO)
  t.match(here.messages.join('\n'), /nbd:.*cannot be opened: qemu-storage-daemon says ".*"; the next one is started in \d+ ms/)
  await server.start()
  await until('the next one to serve', 10_000, async () => await errnoOf(disk.read(0, 4096)) === 0)
})

t.test('closed means closed: nothing is served, nothing is locked, and only a takeover\'s flush opens it', { skip }, async (t) => {
  const here = lab(t), { path, node } = qcow2(here.work)
  const backing = await open(t, here, node), disk = new ModelDisk(t, backing)
  t.equal(await errnoOf(disk.read(0, 512)), EIO, 'not opened yet')
  t.equal(await errnoOf(flushBacking(backing)), 0)
  await backing.attachNow()
  const pid = daemonPid(here.run), write = errnoOf(disk.put(0, MIB, 1))
  await backing.detach()
  t.equal(isAlive(pid), false)
  await write
  t.equal(backing.outstandingWrites, 0)
  t.equal(await errnoOf(disk.read(0, 512)), EIO)
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write 0 4096', path], { stdio: 'ignore' })
  await backing.attachNow()
  t.ok((await disk.read(0, 4096)).every((byte) => byte === 0xcd), 'opened anew, it has what another program wrote')
  const first = daemonPid(here.run)
  await backing.attach()
  t.equal(await errnoOf(disk.read(0, 4096)), 0)
  t.match({ same: daemonPid(here.run) === first, alive: isAlive(first) }, { same: false, alive: false }, 'who owns it again does not go on with what the old daemon knew')
})

t.test('QEMU\'s own lock keeps a second one out; looking at it is allowed', { skip }, async (t) => {
  const here = lab(t), { path, node } = qcow2(here.work)
  const backing = await open(t, here, node)
  await backing.attachNow()
  const second = await open(t, { ...here, run: here.work.file('second') }, node)
  t.equal(second.sizeBytes, SIZE)
  await t.rejects(second.attachNow(), { exitCode: EXIT.unsafe, message: new RegExp(`qcow2 on ${path} cannot be opened: qemu-storage-daemon says .*lock.*; stop the program`) })
  await t.rejects(open(t, here, node), { exitCode: EXIT.unsafe, message: /is in use: another Holdfast serves on the same socket/ })
})

t.test('what is not there, or not what it is called', { skip }, async (t) => {
  const here = lab(t), raw = here.work.image('disk.raw', SIZE)
  await t.rejects(open(t, here, { driver: 'qcow2', file: { driver: 'file', filename: raw } }), { exitCode: EXIT.config, message: /qcow2 on .* cannot be opened: .*not in qcow2 format/ })
  await t.rejects(open(t, here, { driver: 'file', filename: `${raw}.no` }), { exitCode: EXIT.config, message: /No such file/ })
  await t.rejects(open(t, here, { driver: 'file', filename: raw, colour: 'red' }), { exitCode: EXIT.config, message: /colour/ })
  t.notOk(existsSync(here.run), 'and nothing is left behind')
})

t.test('a read-only volume', { skip }, async (t) => {
  const here = lab(t), image = here.work.image('disk.raw', SIZE)
  const backing = await open(t, here, { driver: 'file', filename: image }, { readOnly: true }), memory = new AlignedMemory(512)
  t.teardown(() => memory.free())
  await backing.attachNow()
  t.equal(backing.discards, false)
  t.equal(await errnoOf(operation((target) => backing.read(memory.address, 512, 512, target, 0))), 0)
  t.equal(await errnoOf(operation((target) => backing.write(memory.address, 512, 512, false, target, 0))), EROFS)
  t.equal(backing.outstandingWrites, 0)
})

t.test('an image that was made larger is seen when it is opened anew, under load', { skip }, async (t) => {
  const here = lab(t), image = here.work.image('disk.raw', SIZE)
  const backing = await open(t, here, { driver: 'file', filename: image }), disk = new ModelDisk(t, backing)
  await backing.attachNow()
  const writes = Array.from({ length: 100 }, (_, i) => disk.put(i * 65536, 65536, 1))
  truncateSync(image, 2 * SIZE)
  t.equal(backing.sizeBytes, SIZE)
  await backing.reopen()
  await Promise.all(writes)
  t.equal(backing.sizeBytes, 2 * SIZE)
  t.equal(await errnoOf(flushBacking(backing)), 0, 'nothing was lost on the way')
  t.ok(readFileSync(image).subarray(0, SIZE).equals(disk.model))
})

t.test('a daemon that ends while the image is being opened anew', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  const backing = await open(t, here, node), disk = new ModelDisk(t, backing)
  await backing.attachNow()
  const writes = Array.from({ length: 100 }, (_, i) => disk.put(i * 65536, 65536, 1))
  const pid = daemonPid(here.run), reopened = backing.reopen()
  await until('the drain to begin', 5000, () => backing.outstandingWrites > 0)
  process.kill(pid, 'SIGKILL')
  await reopened
  await Promise.all(writes)
  await disk.settle()
  t.ok((await disk.read(0, SIZE)).equals(disk.model))
})

t.test('the directory of its socket is private, whoever made it', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  mkdirSync(here.run, { mode: 0o755 })
  await open(t, here, node)
  t.equal(statSync(here.run).mode & 0o777, 0o700)
  symlinkSync(here.work.path, here.work.file('link'))
  await t.rejects(open(t, { ...here, run: here.work.file('link') }, node), { exitCode: EXIT.config, message: /link cannot be made for qemu-storage-daemon: somebody else has made it/ })
  if (process.getuid!() !== 0) { t.pass('a directory of another user', { skip: 'needs root' }); return }
  mkdirSync(here.work.file('theirs'))
  chownSync(here.work.file('theirs'), 65534, 65534)
  await t.rejects(open(t, { ...here, run: here.work.file('theirs') }, node), { exitCode: EXIT.config, message: /somebody else has made it/ })
})

t.test('a daemon that outlived its Holdfast is ended before the image is opened; somebody else\'s process is not', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  mkdirSync(here.run, { mode: 0o700 })
  const left = spawn('qemu-storage-daemon', [
    '--blockdev', JSON.stringify({ ...node, 'node-name': 'n' }),
    '--export', JSON.stringify({ type: 'vhost-user-blk', id: 'e', 'node-name': 'n', addr: { type: 'unix', path: join(here.run, 's') }, writable: true }),
  ], { stdio: 'ignore' })
  const stranger = spawn('sleep', ['60'])
  t.teardown(() => { left.kill('SIGKILL'); stranger.kill('SIGKILL') })
  await until('the old daemon', 5000, () => existsSync(join(here.run, 's')))
  writeFileSync(join(here.run, 'pid'), String(left.pid))
  const ended = new Promise((resolve) => left.once('exit', (_code, signal) => resolve(signal)))
  const backing = await open(t, here, node)
  t.equal(await ended, 'SIGKILL')
  await backing.attachNow()
  await backing.detach()
  backing.close()
  mkdirSync(here.run)
  writeFileSync(join(here.run, 'pid'), String(stranger.pid))
  const next = await BlockdevBacking.open({ node, readOnly: false, runDirectory: here.run, settleMs: 0, warn: () => undefined })
  t.ok(isAlive(stranger.pid!))
  next.close()
})

t.test('memory is bounded, and is given back with each daemon', { skip }, async (t) => {
  const here = lab(t), { node } = qcow2(here.work)
  const backing = await open(t, here, node), disk = new ModelDisk(t, backing)
  await backing.attachNow()
  const mapped = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('holdfast-client')).length
  const before = { maps: mapped(), fds: readdirSync('/proc/self/fd').length }
  t.equal(before.maps, 1, `one mapping, for ${SHARED_BUFFER_BYTES} bytes of payloads`)
  for (let i = 0; i < 3; i++) {
    await crash(here.run)
    await disk.read(0, 4096)
  }
  t.same({ maps: mapped(), fds: readdirSync('/proc/self/fd').length }, before)
})
