import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, openSync, readSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import t, { type Test } from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { RingBlockFile, openBlockFile } from '../../lib/io/block-file.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { IoRing } from '../../lib/io/ring.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BLOCK = 4096
const EINVAL = 22

class Bench {
  readonly workspace = new Workspace('file')
  readonly path = this.workspace.file('data')
  readonly ring = new IoRing(16)
  readonly memory = new AlignedMemory(64 * BLOCK)
  #file: RingBlockFile | null = null

  constructor(t: Test, bytes: Buffer) {
    writeFileSync(this.path, bytes)
    t.teardown(async () => {
      await this.ring.drain()
      this.#file?.close()
      this.ring.close()
      this.memory.free()
      await this.workspace.close()
    })
  }

  async open(readOnly = false): Promise<RingBlockFile> {
    this.#file = await openBlockFile(this.ring, this.path, { readOnly })
    return this.#file
  }

  /** A pipe moves what it can at once: the one ordinary file here that gives short results. */
  pipe(): RingBlockFile {
    execFileSync('mkfifo', [this.workspace.file('pipe')])
    this.#file = new RingBlockFile(this.ring, 'pipe', openSync(this.workspace.file('pipe'), constants.O_RDWR), 0, 1, false)
    return this.#file
  }
}

const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + Math.floor(i / 256)) % 256))

t.test('reads what is there, writes durably, flushes', async (t) => {
  const bench = new Bench(t, pattern(8 * BLOCK)), { memory } = bench
  const file = await bench.open()
  t.match(file, { path: bench.path, sizeBytes: 8 * BLOCK, isBlockDevice: false })
  t.equal(await operation((target) => file.read(memory.address, 2 * BLOCK, 3 * BLOCK, target, 0)), 2 * BLOCK)
  t.ok(pattern(8 * BLOCK).subarray(3 * BLOCK, 5 * BLOCK).equals(memory.bytes.subarray(0, 2 * BLOCK)))
  t.equal(await operation((target) => file.write(memory.address, BLOCK, 7 * BLOCK, true, target, 0)), BLOCK)
  t.equal(await operation((target) => file.flush(target, 0)), 0)
  t.equal(await operation((target) => file.read(memory.address + BLOCK, BLOCK, 7 * BLOCK, target, 0)), BLOCK)
  t.same(memory.bytes.subarray(BLOCK, 2 * BLOCK), memory.bytes.subarray(0, BLOCK))
  t.equal(await operation((target) => file.fallocate(3, 0, BLOCK, target, 0)), 0)
  t.equal(await operation((target) => file.read(memory.address, BLOCK, 0, target, 0)), BLOCK)
  t.ok(memory.bytes.subarray(0, BLOCK).every((b) => b === 0), 'the hole')
})

t.test('every operation has the token that it was started with, also when slots are used again', async (t) => {
  const bench = new Bench(t, pattern(64 * BLOCK)), { memory } = bench
  const file = await bench.open(), seen: number[] = []
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 40; i++) {
      const target = { complete: (token: number, result: number): void => { seen.push(result === BLOCK ? token : NaN) } }
      file.read(memory.address + i * BLOCK, BLOCK, i * BLOCK, target, round * 100 + i)
    }
    await bench.ring.drain()
    t.same(seen.splice(0).sort((a, b) => a - b), Array.from({ length: 40 }, (_, i) => round * 100 + i))
    t.ok(pattern(40 * BLOCK).equals(memory.bytes.subarray(0, 40 * BLOCK)))
  }
})

t.test('the alignment it names is enough, and anything else is EINVAL', async (t) => {
  const bench = new Bench(t, pattern(4 * BLOCK)), { memory } = bench
  const file = await bench.open(), { alignmentBytes } = file
  t.ok(alignmentBytes === 512 || alignmentBytes === BLOCK)
  const read = (address: number, length: number, offset: number): Promise<number> =>
    operation((target) => file.read(address, length, offset, target, 0))
  t.equal(await read(memory.address + alignmentBytes, alignmentBytes, alignmentBytes), alignmentBytes)
  t.ok(pattern(4 * BLOCK).subarray(alignmentBytes, 2 * alignmentBytes).equals(memory.bytes.subarray(alignmentBytes, 2 * alignmentBytes)))
  await t.rejects(read(memory.address, alignmentBytes, 100), { message: `I/O error, errno ${EINVAL}` })
  await t.rejects(read(memory.address, 100, 0), { message: `I/O error, errno ${EINVAL}` })
})

t.test('a read that ends early at the end of the file is an error, never half a success', async (t) => {
  const bench = new Bench(t, pattern(4 * BLOCK)), { memory } = bench
  const file = await bench.open()
  truncateSync(bench.path, 3 * BLOCK)
  await t.rejects(operation((target) => file.read(memory.address, 2 * BLOCK, 2 * BLOCK, target, 0)), { message: 'I/O error, errno 5' })
  await t.rejects(operation((target) => file.read(memory.address, BLOCK, 3 * BLOCK, target, 0)), { message: 'I/O error, errno 5' })
  t.equal(statSync(bench.path).size, 3 * BLOCK)
})

t.test('a short read is continued until it is whole', async (t) => {
  const bench = new Bench(t, Buffer.alloc(0)), { memory } = bench
  const file = bench.pipe(), text = pattern(3 * BLOCK)
  writeSync(file.fd, text, 0, 1000)
  let done = false
  const read = operation((target) => file.read(memory.address, 3 * BLOCK, 0, target, 0)).finally(() => { done = true })
  for (const [from, length] of [[1000, 4096], [5096, 192], [5288, 3 * BLOCK - 5288]] as const) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.notOk(done)
    writeSync(file.fd, text, from, length)
  }
  t.equal(await read, 3 * BLOCK)
  t.ok(text.equals(memory.bytes.subarray(0, 3 * BLOCK)))
})

t.test('a short write is continued until it is whole', async (t) => {
  const bench = new Bench(t, Buffer.alloc(0)), { memory } = bench
  const file = bench.pipe(), text = pattern(64 * BLOCK), got = Buffer.alloc(text.length)
  memory.bytes.set(text)
  let done = false
  const write = operation((target) => file.write(memory.address, text.length, 0, false, target, 0)).finally(() => { done = true })
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.notOk(done, 'a pipe holds 64 KiB')
  for (let at = 0; at < got.length;) {
    at += readSync(file.fd, got, at, Math.min(10_000, got.length - at), null)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  t.equal(await write, text.length)
  t.ok(got.equals(text))
})

t.test('what cannot be opened is one sentence with the path', async (t) => {
  const bench = new Bench(t, Buffer.alloc(0)), missing = bench.workspace.file('missing'), folder = bench.workspace.file('folder')
  mkdirSync(folder)
  const open = (path: string, readOnly: boolean): Promise<RingBlockFile> => openBlockFile(bench.ring, path, { readOnly })
  await t.rejects(open(missing, false), { exitCode: EXIT.config, message: `${missing} cannot be opened: there is no such file` })
  await t.rejects(open(folder, true), { exitCode: EXIT.config, message: `${folder} is neither a regular file nor a block device` })
  await t.rejects(open('/dev/null', true), { exitCode: EXIT.config, message: '/dev/null is neither a regular file nor a block device' })
})

t.test('a file opened for reading only cannot be written', async (t) => {
  const bench = new Bench(t, pattern(BLOCK)), { memory } = bench
  const file = await bench.open(true)
  await t.rejects(operation((target) => file.write(memory.address, BLOCK, 0, false, target, 0)), { message: 'I/O error, errno 9' })
  t.equal(await operation((target) => file.read(memory.address, BLOCK, 0, target, 0)), BLOCK)
})

t.test('freed memory has no bytes, and is freed once', async (t) => {
  const memory = new AlignedMemory(BLOCK)
  t.equal(memory.address % BLOCK, 0)
  t.same([memory.bytes.length, memory.bytes[0]], [BLOCK, 0])
  memory.free()
  t.same([memory.bytes.length, memory.bytes[0]], [0, undefined])
  t.doesNotThrow(() => memory.free())
})
