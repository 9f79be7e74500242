import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { IoRing } from '../../lib/io/ring.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BLOCK = 4096
const EBADF = -9, EOPNOTSUPP = -95
const PUNCH_HOLE_KEEP_SIZE = 3

interface Bench { readonly ring: IoRing; readonly path: string; readonly fd: number; readonly memory: AlignedMemory }

function bench(t: Test, entries: number, blocks: number): Bench {
  const workspace = new Workspace('ring'), path = workspace.file('data')
  const ring = new IoRing(entries), memory = new AlignedMemory(blocks * BLOCK), fd = openSync(path, 'w+')
  t.teardown(async () => {
    await ring.drain()
    ring.close()
    memory.free()
    closeSync(fd)
    await workspace.close()
  })
  return { ring, path, fd, memory }
}

t.test('what is written is read again, at its place', async (t) => {
  const { ring, path, fd, memory } = bench(t, 8, 2)
  memory.bytes.fill(7, 0, BLOCK)
  t.equal(await operation((target) => ring.write(fd, memory.address, BLOCK, 3 * BLOCK, true, target, 0)), BLOCK)
  t.equal(await operation((target) => ring.fdatasync(fd, target, 0)), 0)
  t.same(readFileSync(path), Buffer.concat([Buffer.alloc(3 * BLOCK), Buffer.alloc(BLOCK, 7)]))
  t.equal(await operation((target) => ring.read(fd, memory.address + BLOCK, BLOCK, 3 * BLOCK, target, 0)), BLOCK)
  t.same(memory.bytes.subarray(BLOCK), memory.bytes.subarray(0, BLOCK))
})

t.test('offsets beyond 4 GiB are not cut off (H8)', async (t) => {
  const { ring, fd, memory } = bench(t, 8, 2)
  const far = 5 * 2 ** 32 + BLOCK
  memory.bytes.fill(9, 0, BLOCK)
  t.equal(await operation((target) => ring.write(fd, memory.address, BLOCK, far, false, target, 0)), BLOCK)
  t.equal(await operation((target) => ring.read(fd, memory.address + BLOCK, BLOCK, far, target, 0)), BLOCK)
  t.equal(memory.bytes[BLOCK], 9)
  t.equal(await operation((target) => ring.read(fd, memory.address + BLOCK, BLOCK, BLOCK, target, 0)), BLOCK)
  t.equal(memory.bytes[BLOCK], 0, 'and nothing is where a cut-off offset would be')
})

t.test('fallocate punches the hole that it is asked for', async (t) => {
  const { ring, path, fd, memory } = bench(t, 8, 1)
  writeFileSync(path, Buffer.alloc(4 * BLOCK, 1))
  t.equal(await operation((target) => ring.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, BLOCK, 2 * BLOCK, target, 0)), 0)
  t.same(readFileSync(path), Buffer.concat([Buffer.alloc(BLOCK, 1), Buffer.alloc(2 * BLOCK), Buffer.alloc(BLOCK, 1)]))
  t.equal(memory.bytes[0], 0)
})

t.test('more operations than entries are all done, each once, with its own token', async (t) => {
  const count = 300
  const { ring, path, fd, memory } = bench(t, 8, count)
  for (let i = 0; i < count; i++) memory.bytes.fill(i % 251, i * BLOCK, (i + 1) * BLOCK)
  const tokens = new Map<number, number>()
  for (let i = 0; i < count; i++) {
    ring.write(fd, memory.address + i * BLOCK, BLOCK, i * BLOCK, false, {
      complete: (token, result) => {
        tokens.set(token, (tokens.get(token) ?? 0) + 1)
        if (result !== BLOCK) t.fail(`operation ${token} gave ${result}`)
      },
    }, i + 2 ** 40)
  }
  t.ok(ring.inFlight > 8, 'they are queued, not refused')
  await ring.drain()
  t.equal(ring.inFlight, 0)
  t.same([...tokens.keys()].sort((a, b) => a - b), Array.from({ length: count }, (_, i) => i + 2 ** 40))
  t.ok([...tokens.values()].every((n) => n === 1))
  t.ok(readFileSync(path).equals(memory.bytes))
})

t.test('operations that a completion starts are done too, and drain waits for them', async (t) => {
  const { ring, fd, memory } = bench(t, 4, 1)
  let left = 50
  const again = {
    complete: (): void => { if (--left > 0) ring.write(fd, memory.address, BLOCK, left * BLOCK, false, again, 0) },
  }
  for (let i = 0; i < 6; i++) ring.write(fd, memory.address, BLOCK, 0, false, again, 0)
  await ring.drain()
  // Those that were under way when the last one was started came after it.
  t.ok(left <= 0 && left > -6, `${left}`)
})

t.test('an operation that waits for an entry is not overtaken for ever by those that come after it', async (t) => {
  const { ring, fd, memory } = bench(t, 4, 1)
  let before = 0, waited = NaN
  const again = { complete: (): void => { if (++before < 400) ring.write(fd, memory.address, BLOCK, 0, false, again, 0) } }
  for (let i = 0; i < 4; i++) ring.write(fd, memory.address, BLOCK, 0, false, again, 0)
  ring.write(fd, memory.address, BLOCK, 0, false, { complete: () => { waited = before } }, 0)
  await ring.drain()
  t.ok(waited <= 12, `${waited} others were done before it`)
})

t.test('an error is the target\'s, as -errno, and the ring goes on', async (t) => {
  const { ring, path, fd, memory } = bench(t, 4, 1)
  const readOnly = openSync(path, 'r')
  t.teardown(() => closeSync(readOnly))
  const results: [number, number][] = []
  const target = { complete: (token: number, result: number): void => { results.push([token, result]) } }
  ring.read(9999, memory.address, BLOCK, 0, target, 1)
  ring.write(readOnly, memory.address, BLOCK, 0, false, target, 2)
  ring.fallocate(fd, 0x4000, 0, BLOCK, target, 3)
  ring.fdatasync(9999, target, 4)
  await ring.drain()
  t.same(results.sort(([a], [b]) => a - b), [[1, EBADF], [2, EBADF], [3, EOPNOTSUPP], [4, EBADF]])
  await t.rejects(operation((target) => ring.read(9999, memory.address, BLOCK, 0, target, 0)), { name: 'Error', message: 'I/O error, errno 9' })
  ftruncateSync(fd, BLOCK)
  t.equal(await operation((target) => ring.read(fd, memory.address, BLOCK, 0, target, 0)), BLOCK)
})

t.test('a drain without work is over at once, and a ring with work is not closed', async (t) => {
  const { ring, fd, memory } = bench(t, 4, 1)
  await ring.drain()
  const write = operation((target) => ring.write(fd, memory.address, BLOCK, 0, false, target, 0))
  t.throws(() => ring.close(), /closed when nothing is in flight/)
  t.equal(await write, BLOCK)
  ring.close()
  t.throws(() => ring.fdatasync(fd, { complete: () => undefined }, 0), /the ring is open/)
})
