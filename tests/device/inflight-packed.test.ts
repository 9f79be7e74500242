import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, inflightPayload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { BASIC, DATA, soon } from './device-lab.js'
import { PackedCrashLab } from './packed-crash-lab.js'
import { INDIRECT } from './raw-ring.js'

const { write, flush } = REQUEST_KIND
const SIZE = 64
const TABLE = DATA + 0x80000

/** Positions in the first two rounds, the last one so that chains and batches cross the end of a round. */
const STARTS = [0, 1, 50, SIZE - 1, SIZE, SIZE * 2 - 4]

const begin = (t: Test, at = 0): Promise<PackedCrashLab> => PackedCrashLab.begin(t, SIZE, at)
const asked = (ids: readonly number[]): string[] => ids.map((id) => `write ${id}+1`)

for (const at of STARTS) {
  t.test(`a crash with nothing in flight resubmits nothing, and the ring goes on where it was (from ${at})`, async (t) => {
    const lab = await begin(t, at), { ring, volume } = lab
    ring.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
    await ring.waitUsed(1)
    // QEMU says the base of when the ring was started: nothing has told it another.
    await lab.crash({ base: ring.baseOf(at) })
    await soon()
    t.same(volume.takeAsked(), [])
    ring.request(3, write, 3, [{ offset: DATA, bytes: 512 }])
    t.same(await ring.waitUsed(1), [{ head: 3, bytes: 1, status: 0 }])
  })

  t.test(`a crash with one request in flight does it again, once (from ${at})`, async (t) => {
    const lab = await begin(t, at), { ring, volume } = lab
    volume.hold = true
    await lab.take([6])
    await lab.crash({ base: ring.baseOf(at) })
    t.same(ring.takeUsed(), [], 'the late end of the first try is told to nobody')
    t.same(volume.takeAsked(), asked([6]))
    volume.release()
    t.same(await ring.waitUsed(1), [{ head: 6, bytes: 1, status: 0 }])
    await lab.crash()
    t.same(volume.takeAsked(), [], 'what has been completed is not done a third time')
  })

  t.test(`many requests, some completed out of order, go on in the order of their submission (from ${at})`, async (t) => {
    const lab = await begin(t, at), { ring, volume } = lab
    volume.hold = true
    await lab.take([30, 0, 27, 3, 24, 6])
    volume.release(4, 1)
    t.same((await ring.waitUsed(2)).map(({ head }) => head), [24, 0])
    await lab.take([9, 21, 24])
    volume.release(2)
    t.same((await ring.waitUsed(1)).map(({ head }) => head), [3])
    // Completions have been written over descriptors of chains that are still in flight.
    lab.fe.channel.close()
    ring.build(12, write, 12, [{ offset: DATA, bytes: 512 }])
    await lab.crash({ base: ring.baseOf(ring.offered) })
    const open = [30, 27, 6, 9, 21, 24]
    await until('the new one', 1000, () => volume.held.length === open.length + 1)
    t.same(volume.takeAsked(), asked([...open, 12]))

    volume.release(5, 0)
    t.same((await ring.waitUsed(2)).map(({ head }) => head), [24, 30])
    await lab.crash()
    t.same(volume.takeAsked(), asked([27, 6, 9, 21, 12]), 'and again after the next crash')
    volume.release()
    t.same((await ring.waitUsed(5)).map(({ head, status }) => [head, status]), [27, 6, 9, 21, 12].map((head) => [head, 0]))
    t.equal(ring.seen, ring.offered)
    volume.hold = false
    for (let i = 0; i < 6; i++) {
      for (let id = 0; id < SIZE / 2; id++) ring.build(id, flush, 0)
      ring.kick()
      await ring.waitUsed(SIZE / 2)
    }
    t.equal(await lab.fe.stopRing(0), ring.base, 'and nothing was lost of the region')
  })
}

t.test('a chain whose taking the crash interrupted is taken from the ring again, and its place in the region is not lost', async (t) => {
  const lab = await begin(t), { volume, ring, region: { view } } = lab
  volume.hold = true
  await lab.take([0, 3, 6])
  // Its mark is written last.
  await lab.crash({ meanwhile: () => view.setUint8(32 + 6 * 32, 0) })
  t.same(volume.takeAsked(), asked([0, 3, 6]))
  await lab.take(Array.from({ length: SIZE / 3 - 3 | 0 }, (_, i) => 10 + i))
  volume.takeAsked()
  await lab.crash()
  t.equal(volume.takeAsked().length, SIZE / 3 | 0)
  volume.release()
  t.equal((await ring.waitUsed(SIZE / 3 | 0)).length, SIZE / 3 | 0)
})

t.test('an indirect chain is done again from its table, after a completion lies over its descriptor', async (t) => {
  const lab = await begin(t), { ring, volume, fe } = lab
  volume.hold = true
  fe.memory.bytes.fill(0x77, DATA, DATA + 512)
  ring.table(TABLE, ring.parts(5, write, 9, [{ offset: DATA, bytes: 512 }]))
  ring.offer(5, [[ring.raw.guest(TABLE), 48, INDIRECT]])
  ring.request(6, flush, 0)
  await until('both', 1000, () => volume.held.length === 2)
  volume.release(1)
  t.same((await ring.waitUsed(1)).map(({ head }) => head), [6])
  await lab.crash()
  t.same(volume.takeAsked(), ['write 9+1'])
  volume.release()
  t.same(await ring.waitUsed(1), [{ head: 5, bytes: 1, status: 0 }])
  t.equal(volume.bytes[9 * 512], 0x77)
})

t.test('a fresh region beside a ring that is far ahead begins where the ring is (trap 11)', async (t) => {
  for (const at of [5, SIZE, SIZE + 9]) {
    const lab = await begin(t, at), { volume, ring } = lab
    volume.hold = true
    await lab.take([0, 3])
    await lab.crash()
    t.same(volume.takeAsked(), asked([0, 3]))
    volume.release()
    t.same((await ring.waitUsed(2)).map(({ head }) => head), [0, 3])
  }
})

t.test('requests of before the crash that the volume has no room for keep their order, also over one more crash', async (t) => {
  const lab = await begin(t), { volume, ring } = lab
  volume.hold = true
  await lab.take([0, 3, 6])
  volume.room = 1
  lab.fe.channel.close()
  ring.build(9, write, 9, [{ offset: DATA, bytes: 512 }])
  await lab.crash()
  t.same(volume.takeAsked(), asked([0]))
  volume.room = 2
  await lab.crash()
  t.same(volume.takeAsked(), asked([0, 3]))
  volume.makeRoom(10)
  t.same(volume.takeAsked(), asked([6, 9]))
})

t.test('a stop answers what is done again, at its bound with an error', async (t) => {
  const lab = await begin(t), { volume, ring, fe } = lab
  volume.hold = true
  await lab.take([4, 8])
  volume.room = 1
  await lab.crash()
  t.equal(await fe.stopRing(0), ring.baseOf(6))
  t.same(ring.takeUsed().map(({ head, status }) => [head, status]), [[4, 1], [8, 1]])
  volume.release()
})

t.test('a reset forgets what was in flight', async (t) => {
  const lab = await begin(t), { volume, ring, fe } = lab
  volume.hold = true
  await lab.take([0, 3])
  await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  volume.release()
  volume.takeAsked()
  ring.clear()
  await lab.start()
  t.same(volume.takeAsked(), [])
  await lab.take([6])
  await lab.crash()
  t.same(volume.takeAsked(), asked([6]), 'the region goes on to be used')
})

t.test('a driver that began anew without telling finds its ring empty', async (t) => {
  const lab = await begin(t, 20), { volume, ring } = lab
  volume.hold = true
  await lab.take([0, 3])
  lab.fe.channel.close()
  ring.clear()
  await lab.crash({ base: ring.base })
  t.same(volume.takeAsked(), [])
  volume.hold = false
  ring.request(1, write, 1, [{ offset: DATA, bytes: 512 }])
  t.same(await ring.waitUsed(1), [{ head: 1, bytes: 1, status: 0 }])
})

t.test('what a firmware left in flight on split rings is not done on packed ones, nor the other way round', async (t) => {
  const lab = await begin(t), { volume, ring, fe } = lab, firmware = fe.rings[0]!
  volume.hold = true
  await lab.take([0, 3, 5])
  fe.channel.close()
  ring.clear()
  firmware.clear()
  // So far on that the packed part, read as a split one, has a used index which is believed.
  firmware.offer([], 10)
  firmware.usedIdx = 10
  await lab.crash({ features: BASIC, base: 10 })
  t.same(volume.takeAsked(), [])
  firmware.build(8, write, 8, [{ offset: DATA, bytes: 512 }])
  firmware.offer([8])
  firmware.kick()
  await until('the write', 1000, () => volume.held.length === 1)
  await lab.crash({ features: BASIC, base: 0 })
  t.same(volume.takeAsked(), asked([8]), 'the same region recovers split rings')
  fe.channel.close()
  firmware.clear()
  ring.clear()
  await lab.crash({ base: ring.base })
  t.same(volume.takeAsked(), [])
  await lab.take([7])
  await lab.crash()
  t.same(volume.takeAsked(), asked([7]), 'and packed ones again')
})

t.test('the region has the layout of the specification', async (t) => {
  const lab = await begin(t), { volume, ring, region: { view } } = lab
  const u16 = (at: number): number => view.getUint16(at, true), state = (i: number): number => 32 + i * 32
  const header = (): number[] => [u16(8), u16(10), u16(12), u16(14), u16(16), u16(18), view.getUint8(20), view.getUint8(21)]
  t.same(header(), [1, SIZE, 0, 0, 0, 0, 1, 1], 'version, size, free and old free, used and old used, both wrap counters')
  volume.hold = true
  await lab.take([7, 9])
  t.same(header(), [1, SIZE, 6, 6, 0, 0, 1, 1])
  t.same([view.getUint8(state(3)), u16(state(3) + 2), u16(state(3) + 4), u16(state(3) + 6)], [1, 4, 5, 3], 'inflight, next, last, num')
  t.ok(view.getBigUint64(state(3) + 8, true) > view.getBigUint64(state(0) + 8, true), 'counter')
  for (const i of [0, 1, 2]) {
    const at = ring.entryAt(3 + i), own = state(3 + i)
    t.same([u16(own + 16), u16(own + 18), view.getUint32(own + 20, true), view.getBigUint64(own + 24, true)], [
      9, lab.fe.memory.view.getUint16(at + 14, true), lab.fe.memory.view.getUint32(at + 8, true), lab.fe.memory.view.getBigUint64(at, true),
    ], 'id, flags, length, address')
  }
  volume.release(0)
  await ring.waitUsed(1)
  t.same(header(), [1, SIZE, 0, 0, 3, 3, 1, 1])
  t.same([view.getUint8(state(0)), u16(state(2) + 2)], [0, 6], 'not in flight, and first of the free list')
  volume.release()
})

t.test('a region that cannot be true is not used', async (t) => {
  for (const damage of [
    (view: DataView) => view.setUint16(32 + 6, 0, true), (view: DataView) => view.setUint16(32 + 6, 60, true), (view: DataView) => view.setUint16(32 + 2, 500, true),
    (view: DataView) => view.setUint16(32 + 2, 0, true), (view: DataView) => view.setUint16(32 + 2 * 32 + 16, 64, true), (view: DataView) => view.setUint16(16, 64, true),
    (view: DataView) => view.setUint16(18, 0xffff, true), (view: DataView) => view.setUint8(32 + 32, 1),
  ]) {
    const lab = await begin(t), { volume, ring } = lab
    volume.hold = true
    await lab.take([0])
    damage(lab.region.view)
    lab.fe.channel.close()
    ring.clear()
    await lab.crash({ base: ring.base })
    t.same(volume.takeAsked(), [])
    await lab.take([2, 4])
    await lab.crash()
    t.same(volume.takeAsked(), asked([2, 4]))
  }
})

t.test('a ring that is larger than its region, or whose region has no room for a packed queue, is served, and that is said', async (t) => {
  for (const [size, bytes, says] of [[SIZE / 2, 0, 32], [SIZE, 1200, 0]] as const) {
    const lab = await PackedCrashLab.begin(t, SIZE, 0, { withRegion: false }), { fe, ring } = lab
    if (bytes === 0) {
      const { fds } = await fe.channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, 1, size))
      for (const fd of fds) native.closeFd(fd)
    } else {
      const fd = native.memfd('short', bytes, true)
      await fe.channel.acknowledge(MESSAGE.setInflightFd, inflightPayload(bytes, 0, 1, size), [fd])
      native.closeFd(fd)
    }
    await lab.startRing()
    t.match(lab.warnings[0], new RegExp(`queue 0 has 64 entries but its inflight region ${says}`))
    ring.request(40, write, 1, [{ offset: DATA, bytes: 512 }])
    t.equal((await ring.waitUsed(1))[0]!.status, 0)
  }
})
