/** What no driver does to a packed ring: it breaks that queue alone, and is told to the operator. */
import t from 'tap'
import { GUEST_BASE } from '../../lib/client/memory.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, signalled, soon } from './device-lab.js'
import { packedFrontEnd } from './packed-lab.js'
import { RawPackedRing, type Part } from './raw-packed-ring.js'
import { INDIRECT, NEXT, WRITE } from './raw-ring.js'

const { read, write, flush } = REQUEST_KIND
const SIZE = 16, TABLE = DATA + 0x10000, TABLE2 = DATA + 0x20000, NOWHERE = GUEST_BASE * 8, MEMORY_END = DATA + 1024 * 1024

interface Attack {
  readonly what: string
  /** What the operator is told. */
  readonly says: string
  forge(ring: RawPackedRing): void
}

const indirect = (ring: RawPackedRing, parts: readonly Part[], bytes = parts.length * 16, at = ring.raw.guest(TABLE)): void => {
  ring.table(TABLE, parts)
  ring.offer(0, [[at, bytes, INDIRECT]])
}
const good = (ring: RawPackedRing): Part[] => ring.parts(0, write, 0, [{ offset: DATA, bytes: 512 }])

const ATTACKS: readonly Attack[] = [
  { what: 'a buffer id beyond the ring', says: `buffer ${SIZE} of a ring of ${SIZE}`, forge: (ring) => ring.offer(SIZE, ring.parts(0, flush, 0)) },
  { what: 'a buffer id far beyond the ring', says: `buffer 65535 of a ring of ${SIZE}`, forge: (ring) => ring.offer(65535, ring.parts(0, flush, 0)) },
  { what: 'a chain that goes on where nothing is available', says: 'goes on in an entry that is not available', forge: (ring) => {
    ring.offer(0, good(ring).slice(0, 2))
    ring.setFlags(1, ring.flags(1) | NEXT)
  } },
  { what: 'a chain that goes on in a used entry', says: 'goes on in an entry that is not available', forge: (ring) => {
    ring.setFlags(2, 0x8080)
    ring.offer(0, good(ring).slice(0, 2))
    ring.setFlags(1, ring.flags(1) | NEXT)
  } },
  { what: 'a chain that fills the ring and goes on', says: `a chain that is longer than the ${SIZE} entries`, forge: (ring) => {
    ring.offer(0, Array.from({ length: SIZE }, (): Part => [ring.raw.guest(DATA), 512, 0]))
    ring.setFlags(SIZE - 1, ring.flags(SIZE - 1) | NEXT)
  } },
  { what: 'an indirect descriptor that goes on', says: 'an indirect descriptor where none may be', forge: (ring) => {
    ring.table(TABLE, good(ring))
    ring.offer(0, [[ring.raw.guest(TABLE), 48, INDIRECT], [ring.raw.guest(ring.raw.statusAt(0)), 1, WRITE]])
  } },
  { what: 'an indirect table in an indirect table', says: 'an indirect descriptor where none may be', forge: (ring) =>
    indirect(ring, [...good(ring).slice(0, 2), [ring.raw.guest(TABLE2), 16, INDIRECT]]) },
  { what: 'an indirect table of no entries', says: 'an indirect table of 0 bytes', forge: (ring) => indirect(ring, good(ring), 0) },
  { what: 'an indirect table of half an entry', says: 'an indirect table of 24 bytes', forge: (ring) => indirect(ring, good(ring), 24) },
  { what: 'an indirect table of 4 GiB', says: 'an indirect table of', forge: (ring) => indirect(ring, good(ring), 0xffff_fff0) },
  { what: 'an indirect table outside the memory', says: 'an indirect table outside', forge: (ring) => indirect(ring, good(ring), 48, NOWHERE) },
  { what: 'an indirect table that ends outside the memory', says: 'an indirect table outside', forge: (ring) =>
    indirect(ring, good(ring), 48, ring.raw.guest(MEMORY_END - 32)) },
  { what: 'a readable buffer after a writable one', says: 'a readable buffer after', forge: (ring) => ring.offer(0, [...good(ring), [ring.raw.guest(DATA), 512, 0]]) },
  { what: 'the same in an indirect table', says: 'a readable buffer after', forge: (ring) => indirect(ring, [...good(ring), [ring.raw.guest(DATA), 512, 0]]) },
  { what: 'no place for the status', says: 'without a place for its status', forge: (ring) => ring.offer(0, good(ring).slice(0, 2)) },
  { what: 'no header at all', says: 'a header of 0 bytes', forge: (ring) => ring.offer(0, [[ring.raw.guest(DATA), 512, WRITE]]) },
  { what: 'a buffer of 4 GiB with the status at its end', says: 'a status byte outside', forge: (ring) => {
    ring.offer(0, [ring.parts(0, read, 0)[0]!, [ring.raw.guest(DATA), 0xffff_ffff, WRITE]])
  } },
]

for (const attack of ATTACKS) {
  t.test(`${attack.what} breaks that queue alone, until the driver begins anew`, async (t) => {
    const lab = deviceLab(t), { volume, warnings } = lab, { fe, ring } = await packedFrontEnd(lab, { size: SIZE })
    const other = new RawPackedRing(fe.memory, fe.rings[1]!)
    await fe.startRing(1, { base: other.base })
    attack.forge(ring)
    ring.kick()
    await until('the warning', 1000, () => warnings.find((m) => m.includes('disk#1: queue 0 is broken') && m.includes(attack.says)))
    t.ok(signalled(ring.raw.errFd))
    t.notOk(ring.isUsed(0))
    t.same(volume.takeAsked(), [])
    other.request(0, flush, 0)
    t.same(await other.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
    ring.kick()
    await soon()
    t.equal(warnings.filter((m) => m.includes('is broken')).length, 1, 'a broken queue is not looked at again')

    await fe.stopRing(0)
    ring.clear()
    await fe.startRing(0, { base: ring.base })
    ring.request(3, write, 7, [{ offset: DATA, bytes: 512 }])
    t.same(await ring.waitUsed(1), [{ head: 3, bytes: 1, status: 0 }], 'anew over the same connection')
    t.same(volume.takeAsked(), ['flush 0+0', 'write 7+1'])
  })
}

t.test('a buffer id, or an entry, that is given again before it came back breaks the queue', async (t) => {
  for (const same of [true, false]) {
    const lab = deviceLab(t), { volume, warnings } = lab, { fe, ring } = await packedFrontEnd(lab, { size: SIZE })
    volume.hold = true
    for (let i = 0; i < SIZE / 2; i++) ring.build(i, flush, 0)
    ring.kick()
    await until('a ring of requests', 1000, () => volume.held.length === SIZE / 2)
    if (same) {
      volume.release(7)
      await ring.waitUsed(1)
      ring.build(3, flush, 0)
    } else ring.build(12, flush, 0)
    ring.kick()
    const says = same ? 'buffer 3 is used again before it came back' : `descriptors of a ring of ${SIZE} are used again before they came back`
    await until('the warning', 1000, () => warnings.some((m) => m.includes(says)))
    volume.release()
    await fe.settled()
    t.equal(fe.lost, null)
  }
})

t.test('a buffer outside the memory is an error of that request alone', async (t) => {
  const lab = deviceLab(t), { fe, ring } = await packedFrontEnd(lab)
  for (const [address, bytes] of [[NOWHERE, 512], [fe.memory.guestAddress + MEMORY_END - 512, 1024], [(1n << 64n) - 256n, 512]] as const) {
    const [header, , status] = good(ring) as [Part, Part, Part]
    ring.offer(0, [header, [address, bytes, 0], status])
    ring.kick()
    t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 1 }])
  }
  t.equal(lab.warnings.length, 1)
})
