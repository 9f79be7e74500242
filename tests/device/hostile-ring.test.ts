import t from 'tap'
import { GUEST_BASE } from '../../lib/client/memory.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, signalled, soon } from './device-lab.js'
import { INDIRECT, NEXT, WRITE, type RawRing } from './raw-ring.js'

const { read, write, flush } = REQUEST_KIND
const SIZE = 16
/** A table of descriptors outside the rings, and one that it may name. */
const TABLE = DATA + 0x10000, TABLE2 = DATA + 0x20000
const NOWHERE = GUEST_BASE * 8
const MEMORY_END = DATA + 1024 * 1024

/** A good header at descriptor `head`, followed by `next`. */
function header(ring: RawRing, head: number, next: number, type: number = write): void {
  ring.header(head, type, 0)
  ring.descriptor(head, ring.guest(ring.headerAt(head)), 16, NEXT, next)
}

interface Attack {
  readonly what: string
  /** What the operator is told. */
  readonly says: string
  forge(ring: RawRing): void
}

const indirect = (ring: RawRing, bytes: number, flags = INDIRECT, at = ring.guest(TABLE)): void => {
  header(ring, 0, 1)
  ring.descriptor(1, at, bytes, flags, 2)
  ring.descriptor(2, ring.guest(ring.statusAt(0)), 1, WRITE)
  ring.offer([0])
}

const ATTACKS: readonly Attack[] = [
  { what: 'descriptors in a circle', says: 'loops or is too long', forge: (ring) => {
    header(ring, 0, 1)
    ring.descriptor(1, ring.guest(DATA), 512, NEXT, 2)
    ring.descriptor(2, ring.guest(DATA), 512, NEXT, 1)
    ring.offer([0])
  } },
  { what: 'a descriptor that follows itself', says: 'loops or is too long', forge: (ring) => { header(ring, 0, 0); ring.offer([0]) } },
  { what: 'a next descriptor beyond the ring', says: `descriptor ${SIZE} of ${SIZE}`, forge: (ring) => { header(ring, 0, SIZE); ring.offer([0]) } },
  { what: 'a head beyond the ring', says: `descriptor ${SIZE} of ${SIZE}`, forge: (ring) => ring.offer([SIZE]) },
  { what: 'a head far beyond the ring', says: `descriptor 65535 of ${SIZE}`, forge: (ring) => ring.offer([65535]) },
  { what: 'an indirect table in an indirect table', says: 'an indirect descriptor where none may be', forge: (ring) => {
    indirect(ring, 32)
    ring.descriptor(0, ring.guest(TABLE2), 32, INDIRECT, 0, TABLE)
  } },
  { what: 'an indirect table that another descriptor follows', says: 'where none may be', forge: (ring) => indirect(ring, 32, INDIRECT | NEXT) },
  { what: 'an indirect table outside the memory', says: 'an indirect table outside', forge: (ring) => indirect(ring, 32, INDIRECT, NOWHERE) },
  { what: 'an indirect table that ends outside the memory', says: 'an indirect table outside', forge: (ring) =>
    indirect(ring, 32, INDIRECT, ring.guest(MEMORY_END - 16)) },
  { what: 'an indirect table of no entries', says: 'an indirect table of 0 bytes', forge: (ring) => indirect(ring, 0) },
  { what: 'an indirect table of half an entry', says: 'an indirect table of 24 bytes', forge: (ring) => indirect(ring, 24) },
  { what: 'an indirect table of 4 GiB', says: 'an indirect table of', forge: (ring) => indirect(ring, 0xffff_fff0) },
  { what: 'an indirect entry beyond its table', says: 'descriptor 2 of 2', forge: (ring) => {
    indirect(ring, 32)
    ring.descriptor(0, ring.guest(DATA), 512, NEXT, 2, TABLE)
  } },
  { what: 'indirect entries in a circle', says: 'loops or is too long', forge: (ring) => {
    indirect(ring, 32)
    ring.descriptor(0, ring.guest(DATA), 512, NEXT, 1, TABLE)
    ring.descriptor(1, ring.guest(DATA), 512, NEXT, 0, TABLE)
  } },
  { what: 'no place for the status', says: 'without a place for its status', forge: (ring) => {
    header(ring, 0, 1)
    ring.descriptor(1, ring.guest(DATA), 512, 0)
    ring.offer([0])
  } },
  { what: 'a status of no bytes', says: 'without a place for its status', forge: (ring) => {
    header(ring, 0, 1)
    ring.descriptor(1, ring.guest(ring.statusAt(0)), 0, WRITE)
    ring.offer([0])
  } },
  { what: 'a status outside the memory', says: 'a status byte outside', forge: (ring) => {
    header(ring, 0, 1, flush)
    ring.descriptor(1, NOWHERE, 1, WRITE)
    ring.offer([0])
  } },
  { what: 'a buffer of 4 GiB with the status at its end', says: 'a status byte outside', forge: (ring) => {
    header(ring, 0, 1, read)
    ring.descriptor(1, ring.guest(DATA), 0xffff_ffff, WRITE)
    ring.offer([0])
  } },
  { what: 'a header that is too short', says: 'a header of 15 bytes', forge: (ring) => {
    ring.build(0, flush, 0)
    ring.descriptor(0, ring.guest(ring.headerAt(0)), 15, NEXT, 1)
    ring.offer([0])
  } },
  { what: 'no header at all', says: 'a header of 0 bytes', forge: (ring) => { ring.descriptor(0, ring.guest(DATA), 512, WRITE); ring.offer([0]) } },
  { what: 'a readable buffer after a writable one', says: 'a readable buffer after', forge: (ring) => {
    header(ring, 0, 1)
    ring.descriptor(1, ring.guest(ring.statusAt(0)), 1, WRITE | NEXT, 2)
    ring.descriptor(2, ring.guest(DATA), 512, 0)
    ring.offer([0])
  } },
  { what: 'an available index that jumps beyond the ring', says: `${SIZE + 1} chains in a ring of ${SIZE}`, forge: (ring) => {
    ring.build(0, flush, 0)
    ring.offer([0], SIZE + 1)
  } },
  { what: 'an available index that goes back', says: `65535 chains in a ring of ${SIZE}`, forge: (ring) => ring.offer([], -1) },
]

for (const attack of ATTACKS) {
  t.test(`${attack.what} breaks that queue alone, until the driver begins anew`, async (t) => {
    const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd({ size: SIZE }), [ring, other] = fe.rings as [RawRing, RawRing]
    attack.forge(ring)
    ring.kick()
    await until('the warning', 1000, () => warnings.find((m) => m.includes('disk#1: queue 0 is broken') && m.includes(attack.says)))
    t.ok(signalled(ring.errFd))
    t.equal(ring.usedIdx, 0)
    t.same(volume.takeAsked(), [])
    t.notOk(signalled(other.errFd))
    other.request(0, flush, 0)
    t.same(await other.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
    ring.kick()
    await soon()
    t.equal(warnings.filter((m) => m.includes('is broken')).length, 1, 'a broken queue is not looked at again')

    await fe.stopRing(0)
    ring.clear()
    await fe.startRing(0)
    ring.request(3, write, 7, [{ offset: DATA, bytes: 512 }])
    t.same(await ring.waitUsed(1), [{ head: 3, bytes: 1, status: 0 }], 'anew over the same connection')
    t.same(volume.takeAsked(), ['flush 0+0', 'write 7+1'])
  })
}

t.test('a buffer outside the memory is an error of that request alone', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  const buffers: readonly (readonly [address: number | bigint, bytes: number])[] = [
    [NOWHERE, 512], [fe.memory.guestAddress - 512, 1024], [fe.memory.guestAddress + MEMORY_END - 512, 1024],
    [(1n << 64n) - 256n, 512], [(1n << 64n) - 1n, 512], [fe.memory.guestAddress + DATA, 0xffff_fe00], [fe.memory.userAddress + DATA, 512],
  ]
  for (const [address, bytes] of buffers) for (const type of [read, write]) {
    header(ring, 0, 1, type)
    ring.descriptor(1, address, bytes, type === read ? NEXT | WRITE : NEXT, 2)
    ring.descriptor(2, ring.guest(ring.statusAt(0)), 1, WRITE)
    ring.offer([0])
    ring.kick()
    t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 1 }], `${address} and ${bytes} bytes`)
  }
  ring.build(0, flush, 0)
  ring.descriptor(0, NOWHERE, 16, NEXT, 1)
  ring.offer([0])
  ring.kick()
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 1 }], 'and so is a header')
  t.same(volume.takeAsked(), [])
  t.equal(warnings.length, 1)
  t.match(warnings[0], /memory that is not shared; is every memory backend of it share=on/)
  ring.request(0, flush, 0)
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
})

t.test('a descriptor that is offered again and again before it comes back breaks the queue, and holds no more than the ring', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd({ size: SIZE }), ring = fe.rings[0]!
  volume.hold = true
  ring.build(0, flush, 0)
  ring.offer(new Array<number>(SIZE).fill(0))
  ring.kick()
  await until('a ring of requests', 1000, () => volume.held.length === SIZE)
  ring.offer([0])
  ring.kick()
  await until('the warning', 1000, () => warnings.some((m) => m.includes('are used again before they came back')))
  t.equal(volume.held.length, SIZE)
  volume.release()
  await fe.settled()
  t.equal(fe.lost, null)
})
