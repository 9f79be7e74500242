/** Disks that only QEMU can open, served by whole programs: qcow2 and NBD behind `holdfast blk`, qcow2 between two hosts. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import type { BlockdevNode } from '../../lib/backing/blockdev/node.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { NbdServer } from '../../fixtures/lab/nbd.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { contentOf, crash, daemonPid, isAlive, qcow2 } from '../backing/blockdev-lab.js'
import { TIMING } from '../volume/lab.js'

const SIZE = 32 * 1024 * 1024, SECTORS = SIZE / 512
const skip = requires('qemu-storage-daemon', 'qemu-img')

function workspace(t: Test): Workspace {
  const work = new Workspace('blockdev')
  t.teardown(() => work.close())
  return work
}

const blkArgs = (work: Workspace, node: BlockdevNode, cached: boolean): string[] => [
  '--socket-path', work.file('v.sock'), '--blockdev', JSON.stringify(node),
  ...(cached ? ['--cache', work.file('region'), '--cache-size', '64MiB', '--quarantine', '500ms'] : []),
]

/** A guest's disk and what must be on it; its writes are spread, and differ in each round. */
class Disk {
  readonly model = Buffer.alloc(SIZE)
  readonly client: VhostClient

  constructor(client: VhostClient, model?: Buffer) {
    this.client = client
    if (model !== undefined) this.model.set(model)
  }

  async write(round: number): Promise<number[]> {
    const writes: Promise<number>[] = []
    for (let i = 0; i < 100; i++) {
      const sectors = 1 + (i * 7 + round) % 64, lba = (i * 331 + round * 17) % (SECTORS - 64), at = i * 64 * 512
      const bytes = this.client.buffer.subarray(at, at + sectors * 512)
      for (let k = 0; k < bytes.length; k++) bytes[k] = (round * 37 + i * 11 + k) & 0xff
      // A few at a time, which do not overlap.
      if (i % 10 === 0) await Promise.all(writes)
      writes.push(this.client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: sectors, bufferOffset: at }).then((status) => {
        if (status === 0) this.model.set(bytes, lba * 512)
        return status
      }))
    }
    return Promise.all(writes)
  }

  flush(): Promise<number> { return this.client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }) }

  async isRight(): Promise<boolean> {
    const step = this.client.buffer.length / 512
    for (let lba = 0; lba < SECTORS; lba += step) {
      if (await this.client.submit({ kind: 'read', lbaSectors: lba, lengthSectors: step, bufferOffset: 0 }) !== 0) return false
      if (!Buffer.from(this.client.buffer).equals(this.model.subarray(lba * 512, (lba + step) * 512))) return false
    }
    return true
  }
}

const sharedQcow2 = (path: string): { toml: string } => ({ toml: `{ blockdev = { driver = "qcow2", file = { driver = "file", filename = "${path}" } } }` })

const connect = async (socket: string, model?: Buffer): Promise<Disk> => new Disk(await VhostClient.connect(socket, { bufferBytes: 8 * 1024 * 1024 }), model)

for (const cached of [true, false]) {
  t.test(`qcow2 behind "holdfast blk", ${cached ? 'with a cache' : 'passed through'}`, { skip, timeout: 60_000 }, async (t) => {
    const work = workspace(t), { path, node } = qcow2(work, SIZE)
    const child = await startBlk(work, 'blk', blkArgs(work, node, cached))
    t.match(child.output, new RegExp(`serving qcow2 on ${path} on `))
    const disk = await connect(work.file('v.sock'))
    t.equal(disk.client.capacitySectors, SECTORS)
    await disk.write(1)
    t.equal(await disk.client.submit({ kind: 'writeZeroes', lbaSectors: 4096, lengthSectors: 20_000, bufferOffset: 0, unmap: true }), 0)
    disk.model.fill(0, 4096 * 512, 24_096 * 512)
    t.equal(await disk.flush(), 0)
    if (cached) {
      for (let round = 2; round < 5; round++) {
        const writes = disk.write(round)
        await crash(work.file('v.sock.qsd'))
        t.ok((await writes).every((status) => status === 0), 'the guest does not notice that the daemon was killed')
        t.ok(await disk.isRight())
      }
    }
    const pid = daemonPid(work.file('v.sock.qsd'))
    t.ok(await disk.isRight())
    await disk.client.close()
    t.equal(await child.stop(40_000), 0)
    t.equal(isAlive(pid), false)
    t.notOk(existsSync(work.file('v.sock.qsd')))
    t.ok(contentOf(work, path, 'qcow2').equals(disk.model), 'the image is what the guest wrote')
  })
}

t.test('killed with its daemon, started again: what was acknowledged is in the image', { skip, timeout: 60_000 }, async (t) => {
  const work = workspace(t), { path, node } = qcow2(work, SIZE), args = blkArgs(work, node, true)
  const first = await startBlk(work, 'first', args)
  const disk = await connect(work.file('v.sock'))
  await disk.write(1)
  const pid = daemonPid(work.file('v.sock.qsd'))
  await first.kill9()
  await until('the daemon to die with its Holdfast', 5000, () => !isAlive(pid))
  const second = await startBlk(work, 'second', args)
  const again = await connect(work.file('v.sock'), disk.model)
  t.ok(await again.isRight())
  await again.write(2)
  t.equal(await second.stop(40_000), 0)
  t.ok(contentOf(work, path, 'qcow2').equals(again.model))
})

t.test('NBD that refuses every write for a while: the guest goes on, nothing is lost', { skip: skip || requires('nbdkit'), timeout: 60_000 }, async (t) => {
  const work = workspace(t), image = work.image('san.raw', SIZE), server = new NbdServer(work, ['file', image])
  await server.start()
  const child = await startBlk(work, 'blk', blkArgs(work, server.node, true))
  const disk = await connect(work.file('v.sock'))
  server.fail()
  for (let round = 1; round < 4; round++) t.ok((await disk.write(round)).every((status) => status === 0))
  await until('the storage to be tried', 10_000, () => /destaging stopped: .*the data stays dirty and is tried again/.test(child.output))
  t.ok(readFileSync(image).every((byte) => byte === 0), 'nothing has reached it')
  t.ok(await disk.isRight(), 'reads find it in the log')
  server.heal()
  t.equal(await child.stop(40_000), 0)
  t.ok(readFileSync(image).equals(disk.model), 'the storage has it all')
})

t.test('what "holdfast blk" refuses, with what to do', { skip, timeout: 60_000 }, async (t) => {
  const work = workspace(t), { path, node } = qcow2(work, SIZE)
  const blk = (...args: string[]): { code: number | null; stderr: string } => {
    const { status, stderr } = spawnSync('bin/holdfast', ['blk', '--socket-path', work.file('v.sock'), ...args], { encoding: 'utf8', timeout: 20_000, env: { ...process.env, LOG_FORMAT: 'text' } })
    return { code: status, stderr }
  }
  t.match(blk('--blockdev', 'driver=qcow2'), { code: EXIT.usage, stderr: /A JSON object with a driver is needed/ })
  t.match(blk('--blockdev', '{"file": "x"}'), { code: EXIT.usage, stderr: /A JSON object with a driver is needed/ })
  t.match(blk('--blockdev', JSON.stringify(node), '--blk-file', path), { code: EXIT.usage, stderr: /cannot be used with/ })
  t.match(blk('--blockdev', JSON.stringify({ ...node, cache: { 'no-flush': true } })), { code: EXIT.config, stderr: /cache\.no-flush = true would make every flush a lie/ })
  t.match(blk('--blockdev', JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: `${path}.no` } })), { code: EXIT.config, stderr: /cannot be opened: qemu-storage-daemon says .*No such file/ })
  const child = await startBlk(work, 'other', ['--socket-path', work.file('other.sock'), '--blockdev', JSON.stringify(node)])
  t.match(blk('--blockdev', JSON.stringify(node)), { code: EXIT.unsafe, stderr: /holdfast: qcow2 on .* cannot be opened: .*lock/ })
  t.equal(await child.stop(), 0)
})

t.test('qcow2 goes from host to host: one has it open at a time', { skip, timeout: 100_000 }, async (t) => {
  const work = workspace(t), { path } = qcow2(work, SIZE)
  mkdirSync(work.file('claims'))
  const cluster = await LabCluster.create(work, {
    image: sharedQcow2(path), hosts: ['a', 'b'], copies: 1, regionSize: '64MiB', timing: TIMING, volume: `claims = "${work.file('claims')}"\njournal = "${work.file('claims')}"\n`,
  })
  await cluster.start()
  let model: Buffer | undefined
  const pids: number[] = []
  for (const [round, name] of ['a', 'b', 'a'].entries()) {
    const disk = await connect(cluster.socket(name), model)
    t.ok(await disk.isRight(), `${name} has what the others wrote`)
    await disk.write(round)
    if (round === 1) await crash(`${cluster.socket(name)}.qsd`)
    t.ok(await disk.isRight())
    await until('its daemon', 5000, () => { try { return isAlive(daemonPid(`${cluster.socket(name)}.qsd`)) } catch { return false } })
    pids.push(daemonPid(`${cluster.socket(name)}.qsd`))
    t.equal(pids.filter(isAlive).length, 1, 'only the owner has the image open')
    model = disk.model
    await disk.client.close()
  }
  t.equal((await cluster.host('a').volume('db01')).backing, `qcow2 on ${path}`)
  for (const name of ['a', 'b']) t.notMatch(cluster.host(name).child!.output, /cannot be opened|read of .* failed/, `${name} was never in the other's way`)
  t.equal(await cluster.host('a').stop(), 0)
  t.equal(await cluster.host('b').stop(), 0)
  t.equal(pids.filter(isAlive).length, 0)
  t.ok(contentOf(work, path, 'qcow2').equals(model!), 'after a clean stop everything is in the image')
  execFileSync('qemu-img', ['check', '-q', path])
})

t.test('an owner that slept through its own takeover closes the image when it wakes up', { skip, timeout: 100_000 }, async (t) => {
  const work = workspace(t), { path } = qcow2(work, SIZE)
  mkdirSync(work.file('claims'))
  const cluster = await LabCluster.create(work, {
    image: sharedQcow2(path), hosts: ['a', 'b'], copies: 1, regionSize: '64MiB', timing: TIMING, volume: `claims = "${work.file('claims')}"\njournal = "${work.file('claims')}"\n`,
  })
  await cluster.start()
  const disk = await connect(cluster.socket('a'))
  t.ok((await disk.write(1)).every((status) => status === 0))
  const pid = daemonPid(`${cluster.socket('a')}.qsd`)
  cluster.host('a').child!.signalAll('SIGSTOP')
  // So that nobody asks it to hand over: all that it can learn from is the claim.
  await until('b to give the connection up', 20_000, () => /lost a/.test(cluster.host('b').child!.output))
  const again = await connect(cluster.socket('b'), disk.model), right = again.isRight()
  await until('b to serve', 20_000, async () => (await cluster.host('b').volume('db01')).phase === 'serving')
  t.ok(isAlive(pid), 'it still has the image, which QEMU\'s lock keeps from the next owner')
  cluster.host('a').child!.signalAll('SIGCONT')
  t.ok(await right, 'reads waited for it')
  t.notOk(isAlive(pid))
  await again.client.close()
  t.equal(await cluster.host('b').stop(), 0)
  t.equal(await cluster.host('a').stop(), 0)
  t.ok(contentOf(work, path, 'qcow2').equals(disk.model))
})

t.test('a dead host\'s write-through volume is taken over by flushing what it wrote', { skip, timeout: 100_000 }, async (t) => {
  const work = workspace(t), { path } = qcow2(work, SIZE)
  mkdirSync(work.file('claims'))
  const cluster = await LabCluster.create(work, {
    image: sharedQcow2(path), hosts: ['a', 'b'], copies: 0, regionSize: '64MiB', timing: TIMING, volume: `claims = "${work.file('claims')}"\njournal = "${work.file('claims')}"\npolicy = "write-through"\n`,
  })
  await cluster.start()
  const disk = await connect(cluster.socket('a'))
  t.ok((await disk.write(1)).every((status) => status === 0))
  await cluster.host('a').kill9()
  const again = await connect(cluster.socket('b'), disk.model)
  t.ok(await again.isRight())
  await again.client.close()
  t.equal(await cluster.host('b').stop(), 0)
  t.ok(contentOf(work, path, 'qcow2').equals(disk.model))
})
