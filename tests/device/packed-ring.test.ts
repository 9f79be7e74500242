import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, addressPayload, logPayload, statePayload, u64Payload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { FEATURE, MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { BASIC, DATA, deviceLab, signalled, soon } from './device-lab.js'
import { PACKED, packedFrontEnd } from './packed-lab.js'
import { AT_POSITION, DISABLE, ENABLE, RawPackedRing, type Part } from './raw-packed-ring.js'
import { INDIRECT, NEXT } from './raw-ring.js'

const { read, write, flush, discard, writeZeroes } = REQUEST_KIND
const TABLE = DATA + 0x80000

for (const [size, at] of [[16, 0], [16, 13], [16, 16], [16, 31], [12, 0], [5, 7]] as const) {
  t.test(`chains of any length go round and round a ring of ${size}, from entry ${at} on`, async (t) => {
    const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab, { size, at })
    for (let i = 0; i < size; i++) {
      const pieces = 1 + i % (size - 2), bytes = pieces * 512, id = i % size
      for (let k = 0; k < bytes; k++) fe.memory.bytes[DATA + k] = (i * 31 + k * 7 + (k >> 9)) & 0xff
      const wanted = Buffer.from(fe.memory.bytes.slice(DATA, DATA + bytes))
      const spread = (at: number, inward: boolean) => Array.from({ length: pieces }, (_, p) => ({ offset: at + p * 512, bytes: 512, write: inward }))
      ring.request(id, write, i, spread(DATA, false))
      t.same(await ring.waitUsed(1), [{ head: id, bytes: 1, status: 0 }])
      fe.memory.bytes.fill(0, DATA + 0x10000, DATA + 0x10000 + bytes)
      ring.request(id, read, i, spread(DATA + 0x10000, true))
      t.same(await ring.waitUsed(1), [{ head: id, bytes: bytes + 1, status: 0 }])
      if (!wanted.equals(fe.memory.bytes.subarray(DATA + 0x10000, DATA + 0x10000 + bytes))) t.fail(`round ${i} reads something else`)
    }
    t.equal(await fe.stopRing(0), ring.base, 'and stops where the driver is')
  })
}

t.test('completions out of order lie in the ring in their own order, each as long as its chain', async (t) => {
  const lab = deviceLab(t), { volume } = lab, { ring } = await packedFrontEnd(lab)
  volume.hold = true
  const lengths = [1, 3, 0, 2]
  for (const [id, pieces] of lengths.entries()) ring.build(id, id === 2 ? flush : write, id, Array.from({ length: pieces }, () => ({ offset: DATA, bytes: 512 })))
  ring.kick()
  await until('the requests', 1000, () => volume.held.length === 4)
  volume.release(2, 0)
  t.same((await ring.waitUsed(2)).map(({ head }) => head), [2, 0])
  t.equal(ring.seen, 2 + 3)
  volume.release(1)
  t.same((await ring.waitUsed(1)).map(({ head }) => head), [3])
  ring.request(0, flush, 0)
  await until('a flush', 1000, () => volume.held.length === 2)
  volume.release()
  t.same((await ring.waitUsed(2)).map(({ head }) => head), [1, 0])
  t.equal(ring.seen, ring.offered)
})

t.test('a ring that is full in one batch, and again, is shown as such', async (t) => {
  const lab = deviceLab(t), { volume } = lab, { ring } = await packedFrontEnd(lab)
  for (let round = 0; round < 3; round++) {
    volume.hold = true
    for (let id = 0; id < 8; id++) ring.build(id, flush, 0)
    ring.kick()
    await until('the flushes', 1000, () => volume.held.length === 8)
    volume.release()
    t.equal((await ring.waitUsed(8)).length, 8)
  }
})

t.test('indirect tables: as long as they say, whatever NEXT says in them, and longer than the ring', async (t) => {
  const lab = deviceLab(t), { volume } = lab, { fe, ring } = await packedFrontEnd(lab)
  const indirect = async (id: number, parts: readonly Part[]): Promise<number> => {
    ring.table(TABLE, parts)
    ring.offer(id, [[ring.raw.guest(TABLE), parts.length * 16, INDIRECT]])
    ring.kick()
    const [done] = await ring.waitUsed(1)
    t.equal(done!.head, id)
    return done!.status
  }
  fe.memory.bytes.fill(0x5a, DATA, DATA + 40 * 512)
  t.equal(await indirect(3, ring.parts(3, write, 8, [{ offset: DATA, bytes: 512 }])), 0, 'no NEXT')
  t.equal(await indirect(4, ring.parts(4, write, 9, [{ offset: DATA, bytes: 512 }]).map(([a, b, flags]): Part => [a, b, flags | NEXT])), 0, 'NEXT even on the last')
  t.equal(await indirect(5, ring.parts(5, write, 100, Array.from({ length: 40 }, (_, i) => ({ offset: DATA + i * 512, bytes: 512 })))), 0)
  t.same(volume.takeAsked(), ['write 8+1', 'write 9+1', 'write 100+40'])
  t.equal(volume.bytes[139 * 512], 0x5a)
  t.equal(ring.seen, 3, 'each took one entry')
})

t.test('discard and write zeroes', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab)
  for (const type of [discard, writeZeroes]) {
    fe.memory.view.setBigUint64(DATA, 24n, true)
    fe.memory.view.setUint32(DATA + 8, 8, true)
    lab.volume.bytes.fill(0xaa, 24 * 512, 32 * 512)
    ring.request(1, type, 0, [{ offset: DATA, bytes: 16 }])
    t.same(await ring.waitUsed(1), [{ head: 1, bytes: 1, status: 0 }])
    t.equal(lab.volume.bytes[32 * 512 - 1], 0)
  }
  t.same(lab.volume.takeAsked(), ['discard 24+8', 'writeZeroes 24+8'])
})

// --- bases, formats ------------------------------------------------------------------------------------------------------

t.test('a base carries both positions with their wrap counters, and the next start goes on there', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab)
  for (const expected of [0x8008_8008, 0, 0x0008_0008, 0x8000_8000]) {
    for (let i = 0; i < 4; i++) { ring.request(0, flush, 0); await ring.waitUsed(1) }
    t.equal(await fe.stopRing(0), expected)
    await fe.startRing(0, { base: expected })
  }
  await fe.stopRing(0)
  await fe.channel.acknowledge(MESSAGE.setVringBase, statePayload(0, 0x0007_8009))
  t.equal(await fe.stopRing(0), 0x0007_8009, 'and comes back from a ring that did not run')
})

t.test('a base of 16 bits means both positions', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab, { at: 5 })
  await fe.stopRing(0)
  await fe.startRing(0, { base: 0x8005 })
  ring.request(0, flush, 0)
  await ring.waitUsed(1)
  t.equal(await fe.stopRing(0), 0x8007_8007)
})

for (const base of [0x8010_8010, 0x8000_8010, 0x8010_8000, 0x8007_0008]) {
  t.test(`a base that no ring of 16 has (${base.toString(16)}) breaks the queue`, async (t) => {
    const lab = deviceLab(t), { fe } = await packedFrontEnd(lab)
    await fe.stopRing(0)
    await fe.startRing(0, { base })
    t.match(lab.warnings[0], new RegExp(`queue 0 is broken \\(a base of ${base.toString(16)} in a packed ring of 16 entries\\)`))
    await fe.stopRing(0)
    const anew = new RawPackedRing(fe.memory, fe.rings[0]!)
    anew.clear()
    await fe.startRing(0, { base: anew.base })
    anew.request(0, flush, 0)
    t.equal((await anew.waitUsed(1)).length, 1)
  })
}

t.test('a firmware with split rings and a system with packed ones over one connection', async (t) => {
  const lab = deviceLab(t), fe = await lab.frontEnd(), firmware = fe.rings[0]!
  firmware.request(0, write, 4, [{ offset: DATA, bytes: 512 }])
  await firmware.waitUsed(1)
  t.match(lab.infos.at(-1), /disk#1: started, 1 ring, split/)
  for (const { index } of fe.rings) await fe.stopRing(index)
  await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  firmware.clear()
  await fe.negotiate(PACKED)
  const ring = new RawPackedRing(fe.memory, firmware)
  await fe.startRing(0, { base: ring.base })
  t.match(lab.infos.at(-1), /disk#1: started, 1 ring, packed/)
  ring.request(9, write, 5, [{ offset: DATA, bytes: 512 }])
  t.same(await ring.waitUsed(1), [{ head: 9, bytes: 1, status: 0 }])
  await fe.stopRing(0)
  ring.clear()
  await fe.negotiate(BASIC)
  await fe.startRing(0, { base: 0 })
  firmware.request(3, flush, 0)
  t.equal((await firmware.waitUsed(1)).length, 1, 'and back')
  t.same(lab.volume.takeAsked(), ['write 4+1', 'write 5+1', 'flush 0+0'])
})

t.test('the format of running rings does not change, and a split ring has a power of two entries', async (t) => {
  const lab = deviceLab(t), { fe } = await packedFrontEnd(lab)
  await fe.channel.acknowledge(MESSAGE.setFeatures, u64Payload(PACKED | FEATURE.logAll))
  await t.rejects(fe.channel.acknowledge(MESSAGE.setFeatures, u64Payload(BASIC)))
  await until('the reason', 1000, () => lab.infos.some((m) => m.includes('the ring format is changed while rings run')))
  const late = await lab.frontEnd({ start: false, size: 12 })
  await late.negotiate(PACKED)
  await late.shareMemory()
  await late.channel.acknowledge(MESSAGE.setVringNum, statePayload(0, 12))
  await late.channel.send(MESSAGE.setFeatures, u64Payload(BASIC))
  await t.rejects(late.startRing(0))
})

t.test('GET_VRING_BASE waits for what was taken', async (t) => {
  const lab = deviceLab(t), { volume } = lab, { fe, ring } = await packedFrontEnd(lab)
  volume.hold = true
  ring.request(7, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the read', 1000, () => volume.held.length === 1)
  let stopped = false
  const base = fe.stopRing(0).then((value) => { stopped = true; return value })
  await soon()
  t.equal(stopped, false)
  volume.release()
  t.equal(await base, 0x8003_8003)
  t.same(ring.takeUsed(), [{ head: 7, bytes: 513, status: 0 }])
  ring.request(7, flush, 0)
  await soon()
  t.same(ring.takeUsed(), [])
})

// --- events --------------------------------------------------------------------------------------------------------------

/** Flushes at the volume, of two entries each; `complete` ends some in one turn and tells whether the driver was called. */
async function held(t: Test, features: bigint, at: number): Promise<{ ring: RawPackedRing; ask(count: number): Promise<void>; complete(count: number): Promise<boolean> }> {
  const lab = deviceLab(t), { volume } = lab, { ring } = await packedFrontEnd(lab, { at, features })
  let id = 0
  volume.hold = true
  signalled(ring.raw.callFd)
  return {
    ring,
    ask: async (count) => {
      const before = volume.held.length
      for (let i = 0; i < count; i++) ring.build(id++ % 16, flush, 0)
      ring.kick()
      await until('the flushes', 1000, () => volume.held.length === before + count)
    },
    complete: async (count) => {
      volume.release(...Array.from({ length: count }, (_, i) => i))
      await new Promise(setImmediate)
      ring.takeUsed()
      return signalled(ring.raw.callFd)
    },
  }
}

for (const at of [0, 4, 12, 16, 20, 28]) {
  t.test(`a driver is called when the completion it waits for is there, not before and not again (from ${at}; trap 17)`, async (t) => {
    const { ring, ask, complete } = await held(t, PACKED | FEATURE.eventIdx, at)
    await ask(8)
    ring.setDriverEvent(AT_POSITION, ring.word(at + 8))
    t.equal(await complete(4), false, 'entries 0 to 7')
    t.equal(await complete(1), true, '8 and 9')
    t.equal(await complete(1), false, '10 and 11')
    ring.setDriverEvent(AT_POSITION, ring.word(at + 14))
    t.equal(await complete(2), true, '12 to 15 together')
    await ask(8)
    ring.setDriverEvent(AT_POSITION, ring.word(at + 31))
    t.equal(await complete(7), false, 'another round')
    // About to sleep, it saw fewer completions than there are.
    ring.setDriverEvent(AT_POSITION, ring.word(at + 20))
    t.equal(await complete(1), true, 'counted from the last call, not from the last look')
  })

  t.test(`the device asks to be kicked for the next chain (from ${at})`, async (t) => {
    const { ring, ask } = await held(t, PACKED | FEATURE.eventIdx, at)
    t.same(ring.deviceEvent, { flags: AT_POSITION, word: ring.word(at) })
    for (let i = 1; i <= 8; i++) {
      await ask(1)
      t.same(ring.deviceEvent, { flags: AT_POSITION, word: ring.word(at + i * 2) })
    }
  })
}

t.test('without EVENT_IDX the driver is called for every batch, or never when it says so, and the device is always kicked', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab)
  const called = async (): Promise<boolean> => {
    ring.request(0, flush, 0)
    await ring.waitUsed(1)
    await new Promise(setImmediate)
    return signalled(ring.raw.callFd)
  }
  signalled(ring.raw.callFd)
  t.equal(await called(), true)
  ring.setDriverEvent(DISABLE)
  t.equal(await called(), false)
  ring.setDriverEvent(ENABLE)
  t.equal(await called(), true)
  await fe.stopRing(0)
  // As a back end that polled has left it.
  ring.deviceEventFlags = DISABLE
  await fe.startRing(0, { base: ring.base })
  await fe.settled()
  t.same(ring.deviceEvent, { flags: ENABLE, word: 0 })
})

// --- dirty log -----------------------------------------------------------------------------------------------------------

t.test('entries are marked where the memory table has them, events at the log address, and only under the log flag (trap 10)', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab, { size: 1024, features: PACKED | FEATURE.eventIdx })
  const fd = native.memfd('log', 65536, true), bits = new Uint8Array(native.viewOf(native.mapShared(fd, 65536, 0), 65536))
  const take = (): number[] => {
    const pages: number[] = [], first = fe.memory.guestAddress / 4096
    bits.forEach((byte, at) => { for (let bit = 0; bit < 8; bit++) if ((byte >> bit & 1) !== 0) pages.push(at * 8 + bit - first) })
    bits.fill(0)
    return pages
  }
  const logged = async (log: number | null): Promise<void> => {
    await fe.channel.acknowledge(MESSAGE.setVringAddr, addressPayload(0, { ...ring.raw.places, ...(log === null ? {} : { log }) }))
    take()
  }
  const after = async (id = 0): Promise<number[]> => {
    ring.request(id, flush, 0)
    await ring.waitUsed(1)
    await fe.settled()
    return take()
  }
  const pages = (...at: number[]): number[] => at.map((a) => Math.floor(a / 4096)).sort((a, b) => a - b)
  const status = ring.raw.statusAt(0), elsewhere = DATA + 0x40000
  await fe.channel.call(MESSAGE.setLogBase, logPayload(65536, 0), [fd])
  await fe.channel.acknowledge(MESSAGE.setFeatures, u64Payload(PACKED | FEATURE.eventIdx | FEATURE.logAll))
  await logged(ring.raw.usedGuest)
  t.same(await after(), pages(ring.entryAt(0), ring.raw.usedGuest - fe.memory.guestAddress, status))
  await logged(fe.memory.guestAddress + elsewhere)
  t.same(await after(), pages(ring.entryAt(0), elsewhere, status))
  await logged(null)
  t.same(await after(), pages(status), 'nothing of a ring that is not to be logged')
  await logged(fe.memory.guestAddress + elsewhere)
  // A batch of three over the border of two pages: entries 254 and 255 in the first, 256 and on in the second.
  const asked = 126 - ring.offered / 2
  for (let i = 0; i < asked; i++) ring.build(10 + i, flush, 0)
  ring.kick()
  await ring.waitUsed(asked)
  take()
  lab.volume.hold = true
  for (const id of [1, 2, 3]) ring.build(id, flush, 0)
  ring.kick()
  await until('three flushes', 1000, () => lab.volume.held.length === 3)
  lab.volume.release()
  await ring.waitUsed(3)
  await fe.settled()
  t.same(take(), [...pages(ring.entryAt(252), ring.entryAt(256), elsewhere, status)].sort((a, b) => a - b))
  native.closeFd(fd)
})
