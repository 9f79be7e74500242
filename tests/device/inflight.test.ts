import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, inflightPayload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, QUEUES, deviceLab, soon, type DeviceLab, type RawFrontEnd } from './device-lab.js'
import type { RawRing } from './raw-ring.js'

const { write } = REQUEST_KIND
const SIZE = 64
/** Where the parts of a queue's region lie. */
const LAST_BATCH_HEAD = 12, USED_IDX = 14
const mark = (head: number): number => 16 + head * 16

/** The region that a front end keeps over the life of its back ends. */
class Region {
  fd = -1
  sizeBytes = 0
  view!: DataView

  async ask(fe: RawFrontEnd): Promise<void> {
    const { payload, fds } = await fe.channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, QUEUES, SIZE))
    this.fd = fds[0]!
    this.sizeBytes = Number(payload.getBigUint64(0, true))
    this.view = new DataView(native.viewOf(native.mapShared(this.fd, this.sizeBytes, 0), this.sizeBytes))
  }

  give(fe: RawFrontEnd): Promise<void> {
    return fe.channel.acknowledge(MESSAGE.setInflightFd, inflightPayload(this.sizeBytes, 0, QUEUES, SIZE), [this.fd])
  }
}

/** A front end with a region, its first ring beginning at `idx`. */
async function begin(lab: DeviceLab, idx = 0): Promise<{ fe: RawFrontEnd; ring: RawRing; region: Region }> {
  const fe = await lab.frontEnd({ start: false, size: SIZE }), ring = fe.rings[0]!, region = new Region()
  ring.usedIdx = idx
  ring.offer([], idx)
  await fe.negotiate()
  await region.ask(fe)
  await region.give(fe)
  await fe.shareMemory()
  await fe.startRing(0, { base: idx })
  return { fe, ring, region }
}

/** The connection is lost; the next back end meets the same memory and the same region. */
async function crash(lab: DeviceLab, fe: RawFrontEnd, region: Region, base?: number): Promise<void> {
  const { volume } = lab
  fe.channel.close()
  await until('the end of the connection', 1000, () => lab.infos.at(-1)?.includes('closed') === true)
  volume.release()
  volume.takeAsked()
  lab.infos.length = 0
  await fe.open()
  await fe.negotiate()
  await region.give(fe)
  await fe.shareMemory()
  await fe.startRing(0, base === undefined ? {} : { base })
}

/** Offers writes to sector `head` in this order, and waits until the volume has them. */
async function take(lab: DeviceLab, ring: RawRing, heads: readonly number[]): Promise<void> {
  const before = lab.volume.held.length
  for (const head of heads) ring.build(head, write, head, [{ offset: DATA, bytes: 512 }])
  ring.offer(heads)
  ring.kick()
  await until('the writes', 1000, () => lab.volume.held.length === before + heads.length)
}

const asked = (heads: readonly number[]): string[] => heads.map((head) => `write ${head}+1`)

t.test('a crash with nothing in flight resubmits nothing', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab)
  ring.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
  await ring.waitUsed(1)
  await crash(lab, fe, region)
  await soon()
  t.same(lab.volume.takeAsked(), [])
  ring.request(3, write, 3, [{ offset: DATA, bytes: 512 }])
  t.same((await ring.waitUsed(1)).map(({ head, status }) => [head, status]), [[3, 0]])
})

t.test('a crash with one request in flight does it again, once', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab)
  lab.volume.hold = true
  await take(lab, ring, [6])
  await crash(lab, fe, region)
  t.equal(ring.usedIdx, 0, 'the late end of the first try is told to nobody')
  t.same(lab.volume.takeAsked(), asked([6]))
  lab.volume.release()
  t.same(await ring.waitUsed(1), [{ head: 6, bytes: 1, status: 0 }])
  await crash(lab, fe, region)
  t.same(lab.volume.takeAsked(), [], 'what has been completed is not done a third time')
})

for (const start of [0, 1, 500, 65530]) {
  t.test(`many requests, some completed out of order, go on in the order of their submission (used index ${start})`, async (t) => {
    const lab = deviceLab(t), { fe, ring, region } = await begin(lab, start), { volume } = lab
    volume.hold = true
    await take(lab, ring, [30, 0, 27, 3, 24, 6])
    volume.release(4, 1)
    t.same((await ring.waitUsed(2)).map(({ head }) => head), [24, 0])
    await take(lab, ring, [9, 21, 24])
    volume.release(2)
    t.same((await ring.waitUsed(1)).map(({ head }) => head), [3])
    // What the driver offers while nobody is there comes last. Some front ends then say its index is where to go on.
    ring.build(12, write, 12, [{ offset: DATA, bytes: 512 }])
    fe.channel.close()
    ring.offer([12])
    await crash(lab, fe, region, ring.availIdx)
    const open = [30, 27, 6, 9, 21, 24]
    await until('the new one', 1000, () => volume.held.length === open.length + 1)
    t.same(volume.takeAsked(), asked([...open, 12]))

    volume.release(5, 0)
    await ring.waitUsed(2)
    await crash(lab, fe, region)
    t.same(volume.takeAsked(), asked([27, 6, 9, 21, 12]), 'and again after the next crash')
    volume.release()
    t.same((await ring.waitUsed(5)).map(({ head, status }) => [head, status]), [27, 6, 9, 21, 12].map((head) => [head, 0]))
    t.equal(ring.usedIdx, ring.availIdx)
  })
}

t.test('SPDK issue 3766: a fresh region beside a ring that is far ahead loses no request at the next crash', async (t) => {
  for (const start of [1, 40, 500, 65535]) {
    const lab = deviceLab(t), { fe, ring, region } = await begin(lab, start)
    t.equal(region.view.getUint16(USED_IDX, true), start, 'the region begins where the ring is')
    lab.volume.hold = true
    await take(lab, ring, [0, 3])
    await crash(lab, fe, region)
    t.same(lab.volume.takeAsked(), asked([0, 3]), `used index ${start}`)
    lab.volume.release()
    t.same((await ring.waitUsed(2)).map(({ head, status }) => [head, status]), [[0, 0], [3, 0]])
  }
})

t.test('a crash between the used index and the marks does not repeat the batch that the guest has seen', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab), { volume } = lab
  volume.hold = true
  await take(lab, ring, [0, 3, 6, 9])
  volume.release(0)
  await ring.waitUsed(1)
  volume.release(2, 0)
  t.same((await ring.waitUsed(2)).map(({ head }) => head), [9, 3])
  t.same([region.view.getUint16(LAST_BATCH_HEAD, true), region.view.getUint16(USED_IDX, true)], [3, 3])
  // As it was when the batch of two had been published and nothing else.
  region.view.setUint16(USED_IDX, 1, true)
  for (const head of [9, 3]) region.view.setUint8(mark(head), 1)
  await crash(lab, fe, region)
  t.same(volume.takeAsked(), asked([6]))
  t.same([0, 3, 6, 9].map((head) => region.view.getUint8(mark(head))), [0, 0, 1, 0])
})

t.test('requests of before the crash that the volume has no room for are not overtaken', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab), { volume } = lab
  volume.hold = true
  await take(lab, ring, [0, 3, 6])
  volume.room = 2
  ring.build(9, write, 9, [{ offset: DATA, bytes: 512 }])
  fe.channel.close()
  ring.offer([9])
  await crash(lab, fe, region)
  t.same(volume.takeAsked(), asked([0, 3]))
  ring.kick()
  await soon()
  t.same(volume.takeAsked(), [])
  volume.makeRoom(10)
  t.same(volume.takeAsked(), asked([6, 9]))
})

t.test('and keep their order over one more crash, though some were done again and some not yet', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab), { volume } = lab
  volume.hold = true
  await take(lab, ring, [0, 3, 6])
  volume.room = 1
  await crash(lab, fe, region)
  t.same(volume.takeAsked(), asked([0]))
  volume.room = 10
  await crash(lab, fe, region)
  t.same(volume.takeAsked(), asked([0, 3, 6]))
})

t.test('a reset forgets what was in flight', async (t) => {
  const lab = deviceLab(t), { fe, ring, region } = await begin(lab), { volume } = lab
  volume.hold = true
  await take(lab, ring, [0, 3])
  await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  volume.release()
  volume.takeAsked()
  ring.clear()
  await fe.negotiate()
  await fe.startRing(0)
  t.same(volume.takeAsked(), [])
  await take(lab, ring, [6])
  await crash(lab, fe, region)
  t.same(volume.takeAsked(), asked([6]), 'the region goes on to be used')
})

t.test('a ring that is larger than its region is served, and that is said', async (t) => {
  const lab = deviceLab(t), fe = await lab.frontEnd({ start: false, size: SIZE }), ring = fe.rings[0]!
  await fe.negotiate()
  const { fds } = await fe.channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, 1, SIZE / 2))
  for (const fd of fds) native.closeFd(fd)
  await fe.shareMemory()
  await fe.startRing(0)
  t.match(lab.warnings[0], /queue 0 has 64 entries but its inflight region 32/)
  ring.request(40, write, 1, [{ offset: DATA, bytes: 512 }])
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
})
