/** Plain reads of a disk that fails: a bad sector costs its block and nothing else. */
import { openSync, truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { PlainFile } from '../../lib/io/plain-file.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

t.test('what cannot be read is zeros, and is listed', async (t) => {
  const work = new Workspace('plain')
  t.teardown(() => work.close())
  const path = work.file('disk'), bytes = Buffer.alloc(64 * 1024, 7)
  writeFileSync(path, bytes)
  const bad = (at: number, length: number): boolean => at < 20_000 && at + length > 16_000
  const file = new PlainFile(path, openSync(path, 'r'), bytes.length, (into, at) => {
    if (bad(at, into.length)) return Promise.reject(new Error('EIO: i/o error'))
    // Less than was asked for, as a signal would have it.
    const n = Math.min(into.length, 10_000, Math.max(0, bytes.length - at))
    into.set(bytes.subarray(at, at + n))
    return Promise.resolve(n)
  })
  const memory = new AlignedMemory(bytes.length + 8192)
  t.teardown(() => memory.free())
  memory.bytes.fill(1)
  t.equal(await operation((target) => file.read(memory.address, memory.lengthBytes, 0, target, 0)), memory.lengthBytes)
  const expected = Buffer.alloc(memory.lengthBytes, 7)
  expected.fill(0, 12_288, 20_480)
  expected.fill(0, bytes.length)
  t.ok(Buffer.from(memory.bytes).equals(expected))
  t.same(file.badPlaces, [{ offsetBytes: 12_288, lengthBytes: 8192, reason: 'EIO: i/o error' }, { offsetBytes: 65_536, lengthBytes: 8192, reason: 'beyond the end of the file' }])
  t.equal(file.badBytes, 16_384)
  file.close()
})

t.test('a real file', async (t) => {
  const work = new Workspace('plain')
  t.teardown(() => work.close())
  const path = work.file('disk')
  writeFileSync(path, Buffer.alloc(8192, 3))
  truncateSync(path, 12_288)
  const file = PlainFile.open(path), memory = new AlignedMemory(8192)
  t.equal(file.sizeBytes, 12_288)
  await operation((target) => file.read(memory.address, 8192, 4096, target, 0))
  t.ok(Buffer.from(memory.bytes).equals(Buffer.concat([Buffer.alloc(4096, 3), Buffer.alloc(4096)])))
  t.same([file.badPlaces, file.inUse, file.keepOthersOut()], [[], false, true])
  memory.free()
  file.close()
})
