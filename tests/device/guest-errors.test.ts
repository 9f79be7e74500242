/** What the guest is shown is counted: requests that fail, whoever refuses them, and queues that break. */
import t from 'tap'
import { REQUEST_KIND, STATUS } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab } from './device-lab.js'
import { CAPACITY_SECTORS } from './memory-volume.js'

const { read, write, flush } = REQUEST_KIND
const UNKNOWN_KIND = 99
const buffer = [{ offset: DATA, bytes: 512, write: true }] as const

t.test('a request that the device refuses, and one that the volume fails', async (t) => {
  const { volume, frontEnd, guestErrors } = deviceLab(t), ring = (await frontEnd()).rings[0]!
  ring.request(0, read, 0, buffer)
  t.equal((await ring.waitUsed(1))[0]!.status, STATUS.ok)
  t.equal(guestErrors(), 0)
  ring.request(0, read, CAPACITY_SECTORS, buffer)
  t.equal((await ring.waitUsed(1))[0]!.status, STATUS.ioError)
  t.equal(guestErrors(), 1)
  volume.hold = true
  ring.request(0, flush, 0)
  await until('the flush', 1000, () => volume.held.length === 1)
  volume.finish(volume.held.pop()!, STATUS.ioError)
  t.equal((await ring.waitUsed(1))[0]!.status, STATUS.ioError)
  t.equal(guestErrors(), 2)
})

t.test('a type that nobody knows is an answer, not an error', async (t) => {
  const { frontEnd, guestErrors } = deviceLab(t), ring = (await frontEnd()).rings[0]!
  ring.request(0, UNKNOWN_KIND, 0, buffer)
  t.equal((await ring.waitUsed(1))[0]!.status, STATUS.unsupported)
  t.equal(guestErrors(), 0)
})

t.test('a queue that breaks counts once, and so does the next one', async (t) => {
  const { frontEnd, guestErrors, warnings } = deviceLab(t), { rings } = await frontEnd()
  for (const [i, ring] of rings.entries()) {
    ring.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
    await ring.waitUsed(1)
    ring.offer([ring.size + 5])
    ring.kick()
    await until('the break', 1000, () => warnings.length === i + 1)
    ring.kick()
    t.equal(guestErrors(), i + 1)
  }
})

t.test('nobody is shown what ends after the guest has gone', async (t) => {
  const { volume, frontEnd, guestErrors, server } = deviceLab(t), fe = await frontEnd()
  volume.hold = true
  fe.rings[0]!.request(0, flush, 0)
  await until('the flush', 1000, () => volume.held.length === 1)
  fe.free()
  await until('the end of the connection', 1000, () => volume.held[0]!.dead)
  volume.finish(volume.held.pop()!, STATUS.ioError)
  await until('the end of the session', 1000, () => server.sessions === 0)
  t.equal(guestErrors(), 0)
})
