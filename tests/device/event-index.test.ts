import t, { type Test } from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { FEATURE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { BASIC, deviceLab, signalled } from './device-lab.js'
import type { MemoryVolume } from './memory-volume.js'
import type { RawRing } from './raw-ring.js'

const { flush } = REQUEST_KIND
const SIZE = 16

interface Open { readonly volume: MemoryVolume; readonly ring: RawRing; complete(requests: number): Promise<boolean> }

/** A ring with `count` flushes at the volume, at used index 0, nothing signalled. */
async function open(t: Test, count: number, features: bigint): Promise<Open> {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd({ size: SIZE, features }), ring = fe.rings[0]!
  volume.hold = true
  for (let i = 0; i < count; i++) ring.build(i * 2, flush, 0)
  ring.offer(Array.from({ length: count }, (_, i) => i * 2))
  ring.kick()
  await until('the flushes', 1000, () => volume.held.length === count)
  signalled(ring.callFd)
  return {
    volume, ring,
    // In one turn of the event loop; then whether the driver was called for it.
    complete: async (requests) => {
      volume.release(...Array.from({ length: requests }, (_, i) => i))
      await new Promise(setImmediate)
      return signalled(ring.callFd)
    },
  }
}

t.test('a driver is called when the completion that it waits for is there, not before and not again (trap 17)', async (t) => {
  const { ring, complete } = await open(t, 8, BASIC | FEATURE.eventIdx)
  ring.usedEvent = 4
  t.equal(await complete(3), false, '0 to 2')
  t.equal(await complete(1), false, '3')
  t.equal(await complete(1), true, '4')
  t.equal(await complete(1), false, '5')
  ring.usedEvent = 6
  t.equal(await complete(2), true, '6 and 7 together')
  t.equal(ring.usedIdx, 8)
})

t.test('a driver that moves its mark behind what is there is called with the next completion (trap 17)', async (t) => {
  const { ring, complete } = await open(t, 4, BASIC | FEATURE.eventIdx)
  ring.usedEvent = 10
  t.equal(await complete(3), false)
  // It was about to sleep: it saw fewer completions than there are.
  ring.usedEvent = 1
  t.equal(await complete(1), true, 'counted from the last call, not from the last look')
})

t.test('the device asks to be kicked for the next chain, whatever it is busy with', async (t) => {
  const { volume, ring } = await open(t, 3, BASIC | FEATURE.eventIdx)
  t.equal(ring.availEvent, 3)
  ring.build(10, flush, 0)
  ring.offer([10])
  ring.kick()
  await until('the fourth', 1000, () => volume.held.length === 4)
  t.equal(ring.availEvent, 4)
})

t.test('a driver without event indices is called for every batch, or never when it says so', async (t) => {
  const { ring, complete } = await open(t, 4, BASIC)
  t.equal(await complete(2), true)
  ring.noInterrupt = true
  t.equal(await complete(1), false)
  ring.noInterrupt = false
  t.equal(await complete(1), true)
})
