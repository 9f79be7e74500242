import t from 'tap'
import { SharedMemory } from '../../lib/client/memory.js'
import { memoryTablePayload } from '../../lib/client/payloads.js'
import { limits } from '../../lib/limits.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, type RawFrontEnd } from './device-lab.js'
import { CAPACITY_SECTORS } from './memory-volume.js'
import { INDIRECT, NEXT, WRITE, type RawRing } from './raw-ring.js'

const { read, write, flush, discard, writeZeroes } = REQUEST_KIND
const TABLE = DATA + 0x40000
const OUT = 0

type Part = readonly [address: number, bytes: number, flags: number]

/** A chain of these buffers, in the ring or in an indirect table, whose header and status the caller has put somewhere. */
function chain(ring: RawRing, parts: readonly Part[], tableAt?: number): void {
  parts.forEach(([address, bytes, flags], i) => ring.descriptor(i, address, bytes, flags | (i < parts.length - 1 ? NEXT : 0), i + 1, tableAt))
  if (tableAt !== undefined) ring.descriptor(0, ring.guest(tableAt), parts.length * 16, INDIRECT)
  ring.offer([0])
  ring.kick()
}

const pattern = (fe: RawFrontEnd, at: number, bytes: number): void => {
  for (let i = 0; i < bytes; i++) fe.memory.bytes[at + i] = (i * 7 + (i >> 9) + 1) & 0xff
}
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b)

t.test('buffers may begin and end anywhere: the layout says nothing, only the order does (trap 18)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  const header = ring.guest(ring.headerAt(0)), status = ring.guest(ring.statusAt(0)), data = ring.guest(DATA)
  pattern(fe, DATA, 2048)
  const wanted = Buffer.from(fe.memory.bytes.slice(DATA, DATA + 1024))

  ring.header(0, write, 4)
  const inPieces: Part[] = [[header, 1, OUT], [header + 1, 7, OUT], [header + 8, 0, OUT], [header + 8, 8, OUT]]
  chain(ring, [...inPieces, [data, 100, OUT], [data + 100, 924, OUT], [status, 1, WRITE]])
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }], 'a header in pieces')
  t.ok(same(volume.bytes.subarray(2048, 3072), wanted))

  // Header and data in one buffer; the status at the end of a buffer that is read data otherwise.
  fe.memory.bytes.copyWithin(DATA + 0x8000, ring.headerAt(0), ring.headerAt(0) + 16)
  fe.memory.view.setBigUint64(DATA + 0x8008, 8n, true)
  fe.memory.bytes.copyWithin(DATA + 0x8010, DATA, DATA + 1024)
  ring.header(0, write, 0)
  chain(ring, [[ring.guest(DATA + 0x8000), 16 + 1024, OUT], [status, 1, WRITE]])
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
  t.ok(same(volume.bytes.subarray(4096, 5120), wanted), 'a header with its data')
  ring.header(0, read, 8)
  fe.memory.bytes[DATA + 0x9000 + 1024] = 0xff
  chain(ring, [[header, 16, OUT], [ring.guest(DATA + 0x9000), 300, WRITE], [ring.guest(DATA + 0x9000 + 300), 725, WRITE]])
  t.same((await ring.waitUsed(1)).map(({ bytes }) => bytes), [1025])
  t.ok(same(fe.memory.bytes.subarray(DATA + 0x9000, DATA + 0x9000 + 1024), wanted), 'data with its status')
  t.equal(fe.memory.bytes[DATA + 0x9000 + 1024], 0)
  ring.header(0, flush, 0)
  chain(ring, [[header, 16, OUT], [ring.guest(DATA + 0x9000), 0, WRITE], [status, 1, WRITE], [status, 0, WRITE]])
  t.equal((await ring.waitUsed(1))[0]!.status, 0, 'buffers of no bytes')
})

t.test('chains of 515 descriptors, as Windows builds them, in the ring and in a table that is longer than the ring', async (t) => {
  const { volume, frontEnd } = deviceLab(t), data = DATA + 0x10000, bytes = 513 * 512
  for (const size of [1024, 16]) {
    const fe = await frontEnd({ size }), ring = fe.rings[0]!, table = size === 16 ? DATA + 0x1000 : undefined
    pattern(fe, data, bytes)
    const pieces = (flags: number): Part[] => Array.from({ length: 513 }, (_, i) => [ring.guest(data + i * 512), 512, flags])
    const send = (flags: number): void =>
      chain(ring, [[ring.guest(ring.headerAt(0)), 16, OUT], ...pieces(flags), [ring.guest(ring.statusAt(0)), 1, WRITE]], table)
    ring.header(0, write, 0)
    send(OUT)
    t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
    t.ok(same(volume.bytes.subarray(0, bytes), fe.memory.bytes.subarray(data, data + bytes)))
    fe.memory.bytes.fill(0, data, data + bytes)
    ring.header(0, read, 0)
    send(WRITE)
    t.same(await ring.waitUsed(1), [{ head: 0, bytes: bytes + 1, status: 0 }])
    t.ok(same(volume.bytes.subarray(0, bytes), fe.memory.bytes.subarray(data, data + bytes)))
    volume.bytes.fill(0)
    fe.channel.close()
  }
})

t.test('a chain of more descriptors than the limit breaks its queue', async (t) => {
  const { frontEnd, warnings } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  ring.header(0, write, 0)
  const parts = Array.from({ length: limits.chainDescriptorsMax - 1 }, (): Part => [ring.guest(DATA), 1, OUT])
  chain(ring, [[ring.guest(ring.headerAt(0)), 16, OUT], ...parts, [ring.guest(ring.statusAt(0)), 1, WRITE]], TABLE)
  await until('the warning', 1000, () => warnings.some((m) => m.includes('an indirect table of')))
  t.equal(ring.usedIdx, 0)
})

t.test('a request over the border of two regions is one request', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, upper = new SharedMemory(65536)
  t.teardown(() => upper.free())
  const border = fe.memory.guestAddress + fe.memory.lengthBytes, end = fe.memory.lengthBytes
  const region = { guestAddress: border, sizeBytes: 65536, userAddress: upper.userAddress, offsetBytes: 0 }
  await fe.channel.acknowledge(MESSAGE.setMemTable, memoryTablePayload([region, fe.region]), [upper.fd, fe.memory.fd])
  const status = ring.guest(ring.statusAt(0))
  fe.memory.bytes.fill(0x11, end - 700)
  upper.bytes.fill(0x22)
  ring.header(0, write, 0)
  chain(ring, [[ring.guest(ring.headerAt(0)), 16, OUT], [border - 700, 1536, OUT], [status, 1, WRITE]])
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
  t.same([699, 700, 1535, 1536].map((at) => volume.bytes[at]), [0x11, 0x22, 0x22, 0])

  // The header lies on the border too, and the status is the first byte of the upper region.
  fe.memory.bytes.copyWithin(end - 6, ring.headerAt(0), ring.headerAt(0) + 6)
  upper.bytes.set(fe.memory.bytes.subarray(ring.headerAt(0) + 6, ring.headerAt(0) + 16))
  chain(ring, [[border - 6, 16, OUT], [border + 0x1000, 512, OUT], [border + 0x3000, 1, WRITE]])
  await ring.waitUsed(1)
  t.equal(upper.bytes[0x3000], 0)
  t.equal(volume.bytes[0], 0x22)
  ring.header(0, read, 0)
  fe.memory.bytes.fill(0, end - 512)
  chain(ring, [[ring.guest(ring.headerAt(0)), 16, OUT], [border - 512, 513, WRITE]])
  t.same((await ring.waitUsed(1)).map(({ bytes }) => bytes), [513])
  t.same([fe.memory.bytes[end - 512], fe.memory.bytes[end - 1], upper.bytes[0]], [0x22, 0x22, 0], 'the last byte is the status')
})

t.test('requests that the disk cannot do are refused one by one, and never reach the volume', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  const data = async (type: number, sector: number, bytes: number): Promise<number> => {
    ring.request(0, type, sector, [{ offset: DATA, bytes, write: type === read }])
    return (await ring.waitUsed(1))[0]!.status
  }
  for (const type of [read, write]) {
    t.equal(await data(type, 0, 511), 1, 'not whole sectors')
    t.equal(await data(type, CAPACITY_SECTORS, 512), 1, 'beyond the end')
    t.equal(await data(type, CAPACITY_SECTORS - 1, 1024), 1, 'over the end')
    t.equal(await data(type, 2 ** 63, 512), 1, 'far beyond the end')
    t.equal(await data(type, CAPACITY_SECTORS - 1, 512), 0, 'the last sector')
  }
  ring.request(0, write, 0)
  t.equal((await ring.waitUsed(1))[0]!.status, 1, 'nothing to write')
  ring.request(0, read, 0)
  t.equal((await ring.waitUsed(1))[0]!.status, 1, 'nowhere to read to')
  volume.takeAsked()

  const range = async (type: number, sector: number, sectors: number, flags = 0, bytes = 16): Promise<number> => {
    fe.memory.view.setBigUint64(DATA, BigInt(sector), true)
    fe.memory.view.setUint32(DATA + 8, sectors, true)
    fe.memory.view.setUint32(DATA + 12, flags, true)
    return data(type, 0, bytes)
  }
  for (const type of [discard, writeZeroes]) {
    t.equal(await range(type, 0, 0), 1)
    t.equal(await range(type, 0, CAPACITY_SECTORS + 1), 1)
    t.equal(await range(type, 2 ** 63, 8), 1)
    t.equal(await range(type, 0, limits.discardSectorsMax + 1), 1)
    t.equal(await range(type, 0, 8, 2), 2, 'a flag that nobody knows (trap 19)')
    t.equal(await range(type, 0, 8, 0, 32), 2, 'two ranges')
    t.equal(await range(type, 0, 8, 0, 8), 1, 'half a range')
  }
  t.equal(await range(discard, 0, 8, 1), 2, 'a discard that unmaps')
  t.same(volume.takeAsked(), [])
  t.equal(await range(writeZeroes, 0, CAPACITY_SECTORS, 1), 0)
  t.same(volume.takeAsked(), [`writeZeroes 0+${CAPACITY_SECTORS}`])
})

t.test('a disk that is read-only, or cannot discard, says so', async (t) => {
  const fixed = deviceLab(t, { readOnly: true, discards: false }), fe = await fixed.frontEnd(), ring = fe.rings[0]!
  fe.memory.view.setUint32(DATA + 8, 8, true)
  for (const [type, bytes, status] of [[write, 512, 1], [writeZeroes, 16, 1], [discard, 16, 1]] as const) {
    ring.request(0, type, 0, [{ offset: DATA, bytes }])
    t.equal((await ring.waitUsed(1))[0]!.status, status)
  }
  const plain = deviceLab(t, { discards: false }), other = await plain.frontEnd()
  other.memory.view.setUint32(DATA + 8, 8, true)
  other.rings[0]!.request(0, discard, 0, [{ offset: DATA, bytes: 16 }])
  t.equal((await other.rings[0]!.waitUsed(1))[0]!.status, 2)
  t.same([...fixed.volume.takeAsked(), ...plain.volume.takeAsked()], [])
})
