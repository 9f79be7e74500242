import t from 'tap'
import { GUEST_BASE, SharedMemory } from '../../lib/client/memory.js'
import { memoryTablePayload, regionPayload, type RegionPlace } from '../../lib/client/payloads.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, soon } from './device-lab.js'
import { NEXT, WRITE, type RawRing } from './raw-ring.js'

const { read, flush } = REQUEST_KIND

/** A second piece of guest memory, far from the first. */
class Slot {
  readonly memory = new SharedMemory(65536)
  readonly place: RegionPlace
  constructor(guestAddress = GUEST_BASE * 4) {
    this.place = { guestAddress, sizeBytes: 65536, userAddress: this.memory.userAddress, offsetBytes: 0 }
  }
}

/** A read of `bytes` at sector 0 into guest address `to`. */
function readInto(ring: RawRing, head: number, to: number, bytes: number): void {
  ring.header(head, read, 0)
  ring.descriptor(head, ring.guest(ring.headerAt(head)), 16, NEXT, head + 1)
  ring.descriptor(head + 1, to, bytes, NEXT | WRITE, head + 2)
  ring.descriptor(head + 2, ring.guest(ring.statusAt(head)), 1, WRITE)
  ring.offer([head])
  ring.kick()
}

t.test('memory comes and goes with requests under way: they end in the memory that they began with (trap 8)', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, slot = new Slot()
  t.teardown(() => slot.memory.free())
  volume.bytes.fill(0xab, 0, 512)
  const table = (...more: Slot[]): Promise<void> => fe.channel.acknowledge(
    MESSAGE.setMemTable, memoryTablePayload([fe.region, ...more.map(({ place }) => place)]), [fe.memory.fd, ...more.map(({ memory }) => memory.fd)])

  volume.hold = true
  ring.request(0, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the read', 1000, () => volume.held.length === 1)
  await table(slot)
  volume.release()
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 513, status: 0 }], 'over a table that has more')
  t.equal(fe.memory.bytes[DATA + 511], 0xab)

  readInto(ring, 4, slot.place.guestAddress + 1024, 512)
  await until('the read', 1000, () => volume.held.length === 1)
  await table()
  volume.release()
  t.same(await ring.waitUsed(1), [{ head: 4, bytes: 513, status: 0 }], 'over a table that has less')
  t.equal(slot.memory.bytes[1024 + 511], 0xab)

  volume.hold = false
  readInto(ring, 8, slot.place.guestAddress, 512)
  t.same(await ring.waitUsed(1), [{ head: 8, bytes: 1, status: 1 }], 'what is gone is that request\'s error alone')
  t.equal(slot.memory.bytes[0], 0)
  t.equal(warnings.filter((m) => m.includes('share=on')).length, 1)
  ring.request(0, flush, 0)
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
})

t.test('regions are added and removed one by one, while rings run', async (t) => {
  const { volume, frontEnd, infos } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, slot = new Slot()
  t.teardown(() => slot.memory.free())
  volume.bytes.fill(0xcd, 0, 512)
  const { channel } = fe
  await channel.acknowledge(MESSAGE.addMemReg, regionPayload(slot.place), [slot.memory.fd])
  readInto(ring, 0, slot.place.guestAddress, 512)
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
  t.equal(slot.memory.bytes[511], 0xcd)
  volume.hold = true
  readInto(ring, 0, slot.place.guestAddress + 512, 512)
  await until('the read', 1000, () => volume.held.length === 1)
  // The offset says nothing about which region is meant.
  await channel.acknowledge(MESSAGE.remMemReg, regionPayload({ ...slot.place, offsetBytes: 4096 }))
  volume.release()
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
  t.equal(slot.memory.bytes[1023], 0xcd)
  await channel.send(MESSAGE.remMemReg, regionPayload(slot.place))
  await fe.ended()
  t.match(infos.at(-1), /removed that was never added/)

  const other = await frontEnd()
  await other.channel.send(MESSAGE.addMemReg, regionPayload({ ...slot.place, guestAddress: other.memory.guestAddress + 4096 }), [slot.memory.fd])
  await other.ended()
  t.match(infos.at(-1), /overlaps another/)
})

t.test('the memory of a running ring itself is taken away: that queue breaks, and starts again in its new place', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd(), slot = new Slot(), ring = fe.rings[0]!
  t.teardown(() => slot.memory.free())
  await fe.channel.acknowledge(MESSAGE.setMemTable, memoryTablePayload([slot.place]), [slot.memory.fd])
  t.match(warnings[0], /queue 0 is broken \(the descriptor table .* lies outside the shared memory/)
  ring.request(0, flush, 0)
  await soon()
  t.same(volume.takeAsked(), [])
  await fe.shareMemory()
  await fe.startRing(0)
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
})
