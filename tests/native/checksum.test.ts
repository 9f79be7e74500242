import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { GATHER_CELLS, native } from 'vhost-user-ts-bindings'
import { AlignedMemory } from '../../lib/io/memory.js'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

function memory(t: Test, lengthBytes: number): AlignedMemory {
  const made = new AlignedMemory(lengthBytes)
  t.teardown(() => made.free())
  return made
}

t.test('CRC32C has its published values', async (t) => {
  for (const crc of [native.crc32c, native.crc32cTable]) {
    t.equal(crc(text('123456789'), 0), 0xe3069283)
    t.equal(crc(new Uint8Array(32), 0), 0x8a9136aa, 'RFC 3720, 32 zeros')
    t.equal(crc(new Uint8Array(32).fill(0xff), 0), 0x62a8ab43, 'RFC 3720, 32 ones')
    t.equal(crc(Uint8Array.from({ length: 32 }, (_, i) => i), 0), 0x46dd794e, 'RFC 3720, rising')
    t.equal(crc(new Uint8Array(0), 0), 0)
    t.equal(crc(new Uint8Array(0), 0xdeadbeef), 0xdeadbeef, 'nothing changes nothing')
  }
})

t.test('the instruction and the table agree on every length, place and seed', async (t) => {
  const bytes = randomBytes(20_000)
  fc.assert(fc.property(fc.integer({ min: 0, max: 64 }), fc.oneof(fc.integer({ min: 0, max: 1600 }), fc.integer({ min: 0, max: 19_900 })),
    fc.integer({ min: 0, max: 0xffffffff }), (from, length, seed) => {
      const part = bytes.subarray(from, from + length), byTable = native.crc32cTable(part, seed)
      if (native.crc32c(part, seed) !== byTable) throw new Error('the instruction differs')
      const half = Math.floor(part.length / 3)
      if (native.crc32c(part.subarray(half), native.crc32c(part.subarray(0, half), seed)) !== byTable) throw new Error('in two parts it differs')
    }), { numRuns: 2000 })
  t.pass('2000 random cases')
})

t.test('the checksum of memory by its address is that of its bytes', async (t) => {
  const m = memory(t, 8192)
  m.bytes.set(randomBytes(8192))
  t.equal(native.crc32cAt(m.address + 3, 5000, 17), native.crc32c(m.bytes.subarray(3, 5003), 17))
})

t.test('gather copies each entry and leaves the checksum of what it copied', async (t) => {
  const m = memory(t, 65536), lengths = [512, 4096, 1, 9000, 0, 33]
  m.bytes.set(randomBytes(32768))
  const table = new Float64Array((lengths.length + 1) * GATHER_CELLS).fill(-1)
  let at = 0
  lengths.forEach((length, i) => {
    table.set([m.address + at + 5, m.address + 32768 + at, length, -1], i * GATHER_CELLS)
    at += length
  })
  native.gather(table, lengths.length)
  at = 0
  lengths.forEach((length, i) => {
    const source = m.bytes.slice(at + 5, at + 5 + length)
    t.same(m.bytes.slice(32768 + at, 32768 + at + length), source, `entry ${i}`)
    t.equal(table[i * GATHER_CELLS + 3], native.crc32cTable(source, 0), `checksum ${i}`)
    at += length
  })
  t.same([...table.subarray(-GATHER_CELLS)], [-1, -1, -1, -1], 'an entry beyond the count is left alone')
  t.equal(m.bytes[32768 + at], 0, 'and so is what lies behind the last copy')
})

t.test('copy copies and writes no checksum', async (t) => {
  const m = memory(t, 8192)
  m.bytes.set(randomBytes(4096))
  const table = Float64Array.of(m.address, m.address + 4096, 4095, 123)
  native.copy(table, 1)
  t.same(m.bytes.slice(4096, 8191), m.bytes.slice(0, 4095))
  t.same([m.bytes[8191], table[3]], [0, 123])
})

t.test('a table shorter than its count is refused', async (t) => {
  t.throws(() => native.gather(new Float64Array(GATHER_CELLS), 2), /table shorter than its count/)
  t.throws(() => native.copy(new Float64Array(GATHER_CELLS), 2), /table shorter than its count/)
})

t.test('zero zeroes the range and nothing beside it', async (t) => {
  const m = memory(t, 4096)
  m.bytes.fill(1)
  native.zero(m.address + 10, 20)
  t.same([...m.bytes.subarray(9, 31)], [1, ...new Array<number>(20).fill(0), 1])
})
