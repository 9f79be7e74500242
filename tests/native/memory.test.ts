import { closeSync, ftruncateSync, readSync, writeSync } from 'node:fs'
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { native } from 'vhost-user-ts-bindings'
import { AlignedMemory } from '../../lib/io/memory.js'

const PAGE = 4096

/** A memfd and a shared mapping of it, both gone at the end. */
function shared(t: Test, lengthBytes: number): { fd: number; address: number; buffer: ArrayBuffer; bytes: Uint8Array } {
  const fd = native.memfd('holdfast-test', lengthBytes, false)
  const address = native.mapShared(fd, lengthBytes, 0), buffer = native.viewOf(address, lengthBytes)
  t.teardown(() => {
    if (buffer.byteLength > 0) native.detach(buffer)
    native.unmap(address, lengthBytes)
    closeSync(fd)
  })
  return { fd, address, buffer, bytes: new Uint8Array(buffer) }
}

t.test('a shared mapping and its file are the same bytes', async (t) => {
  const { fd, address, bytes } = shared(t, 4 * PAGE)
  t.same([native.fileSize(fd), address % PAGE, native.addressOf(bytes.subarray(7))], [4 * PAGE, 0, address + 7])
  bytes[PAGE + 1] = 42
  const read = Buffer.alloc(1)
  readSync(fd, read, 0, 1, PAGE + 1)
  t.equal(read[0], 42)
  writeSync(fd, Buffer.from([43]), 0, 1, 2 * PAGE)
  t.equal(bytes[2 * PAGE], 43)
  const second = native.mapShared(fd, PAGE, 2 * PAGE), view = native.viewOf(second, PAGE)
  t.equal(new Uint8Array(view)[0], 43, 'a mapping from an offset on')
  native.detach(view)
  native.unmap(second, PAGE)
})

t.test('a mapping longer than its file is refused', async (t) => {
  const { fd } = shared(t, 2 * PAGE)
  for (const [length, offset] of [[3 * PAGE, 0], [2 * PAGE, PAGE], [PAGE, 2 * PAGE], [PAGE, 2 ** 52]] as const) {
    t.throws(() => native.mapShared(fd, length, offset), { code: 'ERANGE' }, `${length} at ${offset}`)
  }
})

t.test('after detach every view is empty, and the mapping can go', async (t) => {
  const { buffer, bytes } = shared(t, PAGE)
  const words = new Uint32Array(buffer)
  words[0] = 7
  native.detach(buffer)
  t.same([buffer.byteLength, bytes.length, words.length, bytes[0], words[0]], [0, 0, 0, undefined, undefined])
  t.throws(() => new DataView(buffer), TypeError)
})

t.test('a sealed memfd cannot be resized, another one can', async (t) => {
  const sealed = native.memfd('holdfast-test', PAGE, true), open = native.memfd('holdfast-test', PAGE, false)
  t.teardown(() => { closeSync(sealed); closeSync(open) })
  t.throws(() => ftruncateSync(sealed, 0), { code: 'EPERM' })
  t.throws(() => ftruncateSync(sealed, 2 * PAGE), { code: 'EPERM' })
  ftruncateSync(open, 2 * PAGE)
  t.same([native.fileSize(sealed), native.fileSize(open)], [PAGE, 2 * PAGE])
})

t.test('guest memory that is truncated under us reads as zeros and is poisoned, and nothing crashes', async (t) => {
  const { fd, address, bytes } = shared(t, 16 * PAGE)
  bytes.fill(1)
  const other = shared(t, 2 * PAGE), id = native.watchRange(address, 16 * PAGE), calm = native.watchRange(other.address, 2 * PAGE)
  t.teardown(() => { native.unwatchRange(id); native.unwatchRange(calm) })
  ftruncateSync(fd, 4 * PAGE)
  t.same([bytes[0], bytes[4 * PAGE - 1], native.isPoisoned(id)], [1, 1, false], 'what is left of it is as it was')
  t.equal(bytes[9 * PAGE + 5], 0)
  t.ok(native.isPoisoned(id))
  t.notOk(native.isPoisoned(calm), 'another range is not')
  bytes[15 * PAGE] = 9
  t.equal(bytes[15 * PAGE], 9, 'the rest of the range was replaced at once')
  t.equal(bytes[5 * PAGE], 0, 'and a page before the first fault, by the next one')
})

t.test('a fault inside a native copy is contained too', async (t) => {
  const { fd, address } = shared(t, 4 * PAGE), target = new AlignedMemory(4 * PAGE)
  t.teardown(() => target.free())
  target.bytes.fill(5)
  const id = native.watchRange(address, 4 * PAGE)
  t.teardown(() => native.unwatchRange(id))
  ftruncateSync(fd, 0)
  native.gather(Float64Array.of(address, target.address, 4 * PAGE, 0), 1)
  t.ok(native.isPoisoned(id))
  t.ok(target.bytes.every((b) => b === 0))
})

t.test('a fault in compiled JavaScript is contained too', async (t) => {
  const { fd, address, bytes } = shared(t, 8 * PAGE)
  bytes.fill(1)
  const id = native.watchRange(address, 8 * PAGE)
  t.teardown(() => native.unwatchRange(id))
  const sum = (): number => {
    let total = 0
    for (let i = 0; i < bytes.length; i++) total += bytes[i]!
    return total
  }
  for (let i = 0; i < 2000; i++) sum()
  t.same([sum(), native.isPoisoned(id)], [8 * PAGE, false])
  ftruncateSync(fd, 3 * PAGE)
  t.same([sum(), native.isPoisoned(id)], [3 * PAGE, true])
})

t.test('a range that is watched again is not poisoned any more', async (t) => {
  const first = shared(t, PAGE), id = native.watchRange(first.address, PAGE)
  ftruncateSync(first.fd, 0)
  t.equal(first.bytes[0], 0)
  t.ok(native.isPoisoned(id))
  native.unwatchRange(id)
  const second = shared(t, PAGE), again = native.watchRange(second.address, PAGE)
  t.teardown(() => native.unwatchRange(again))
  t.same([again, native.isPoisoned(again)], [id, false], 'the place is used again')
})

t.test('orBits sets exactly the bits that it is asked for, and clears none', async (t) => {
  const memory = new AlignedMemory(PAGE)
  t.teardown(() => memory.free())
  fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 100 })), { maxLength: 6 }), (ranges) => {
    memory.bytes.fill(0)
    const wanted = new Uint8Array(512)
    for (const [first, count] of ranges) {
      native.orBits(memory.address, first, count)
      wanted.fill(1, first, first + count)
    }
    for (let bit = 0; bit < 512; bit++) {
      if (((memory.bytes[bit >> 3]! >> (bit & 7)) & 1) !== wanted[bit]) throw new Error(`bit ${bit}`)
    }
  }), { numRuns: 200 })
  memory.bytes[0] = 0b1000_0001
  native.orBits(memory.address, 1, 1)
  t.equal(memory.bytes[0], 0b1000_0011)
})
