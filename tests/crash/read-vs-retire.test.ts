/** Ceph PWL 42580: a read of the log while its extent was retired and written over. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { REGION } from '../../fixtures/crash/machine.js'
import { CrashLab, runUntil } from './crash-lab.js'

/** More than the region holds. */
const REQUESTS_MAX = 30
/** Enough for a write that waits for a cut. */
const SOON_TURNS = 600

t.test('a read that hangs while the region goes round', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest, ring, volume } = machine
  guest.ask(REQUEST_KIND.write, 0, 64)
  t.ok(await runUntil(machine, () => guest.inFlight === 0))
  ring.hold = (file, kind) => file === REGION && kind === 'read'
  guest.ask(REQUEST_KIND.read, 0, 64)
  t.equal(ring.held, 1, 'it reads the region')
  // Only the first read is held: destaging reads the region too.
  ring.hold = () => false
  let asked = 0, waits = false
  for (; asked < REQUESTS_MAX && !waits; asked++) {
    guest.ask(REQUEST_KIND.write, 500 + (asked % 3) * 1500, 1500)
    waits = !await runUntil(machine, () => guest.inFlight === 1, SOON_TURNS)
  }
  t.ok(waits && volume.counters.cuts > 0, `after ${asked} writes no segment is left but those that the reader pins`)
  ring.release()
  t.ok(await runUntil(machine, () => guest.inFlight === 0))
  t.same(guest.wrong, [], 'it got what was there when it was asked')
  for (let i = 0; i < REQUESTS_MAX; i++) {
    guest.ask(REQUEST_KIND.write, 500 + (i % 3) * 1500, 1500)
    t.ok(await runUntil(machine, () => guest.inFlight === 0), 'and the region goes round')
  }
})
