import t, { type Test } from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, soon } from './device-lab.js'

const { read, write, flush } = REQUEST_KIND

/** A device with a clock that the test sets. */
async function timed(t: Test) {
  const clock = { now: 1000, looks: 0 }, took: [number, number][] = []
  const lab = deviceLab(t, {}, { nowMs: () => { clock.looks++; return clock.now }, took: (kind, ms) => took.push([kind, ms]) })
  const fe = await lab.frontEnd()
  return { ...lab, fe, ring: fe.rings[0]!, clock, took }
}

t.test('from the ring to the answer, one look at the clock for what comes and ends together', async (t) => {
  const { volume, server, ring, clock, took } = await timed(t)
  volume.hold = true
  clock.looks = 0
  for (const head of [0, 3, 6]) ring.build(head, head === 3 ? write : read, 0, [{ offset: DATA, bytes: 512, write: head !== 3 }])
  ring.offer([0, 3, 6])
  ring.kick()
  await until('the requests', 1000, () => volume.held.length === 3)
  t.equal(clock.looks, 1)
  clock.now = 1250
  t.same(server.waits(), { requests: 3, sinceMs: 1000 })
  volume.release(1)
  await ring.waitUsed(1)
  clock.now = 2000
  volume.release()
  await ring.waitUsed(2)
  await soon()
  t.same(took, [[write, 250], [read, 1000], [read, 1000]])
  t.equal(clock.looks, 3)
  t.same(server.waits(), { requests: 0, sinceMs: null })
})

t.test('the time in the ring counts while the volume has no room', async (t) => {
  const { volume, server, ring, clock, took } = await timed(t)
  volume.room = 1
  for (const head of [0, 3, 6]) ring.build(head, flush, 0)
  ring.offer([0, 3, 6])
  ring.kick()
  await ring.waitUsed(1)
  await soon()
  t.same(took, [[flush, 0]])
  t.same(server.waits(), { requests: 2, sinceMs: 1000 })
  clock.now = 1700
  volume.room = 1
  ring.build(9, flush, 0)
  ring.offer([9])
  ring.kick()
  await ring.waitUsed(1)
  t.same(server.waits(), { requests: 1, sinceMs: 1000 }, 'one of those that waited at first still does')
  clock.now = 1900
  volume.room = 9
  ring.kick()
  await ring.waitUsed(2)
  await soon()
  t.same(took.slice(1), [[flush, 700], [flush, 900], [flush, 0]], 'of a request behind those that were held nobody knows since when')
})

t.test('a volume that is elsewhere: the guest waits all the same', async (t) => {
  const { volume, server, fe, clock } = await timed(t)
  await fe.stopRing(0)
  await fe.stopRing(1)
  volume.owned = false
  await fe.startRing(0)
  fe.rings[0]!.request(0, flush, 0)
  await soon()
  clock.now = 4000
  t.match(server.waits(), { requests: 1, sinceMs: 1000 })
  await fe.stopRing(0)
  t.same(server.waits(), { requests: 0, sinceMs: null })
})

t.test('what is no I/O of the volume is not counted: an unknown request, a serial number', async (t) => {
  const { ring, took } = await timed(t)
  ring.request(0, 99, 0, [{ offset: DATA, bytes: 512, write: true }])
  ring.request(3, 8, 0, [{ offset: DATA, bytes: 20, write: true }])
  ring.request(6, read, 1e9, [{ offset: DATA, bytes: 512, write: true }])
  await ring.waitUsed(3)
  await soon()
  t.same(took, [])
})
