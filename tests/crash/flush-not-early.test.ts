/** Ceph PWL 42775: a flush was sent ahead of writes that had been put off. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { checkWindow } from '../../fixtures/crash/legal.js'
import { REGION } from '../../fixtures/crash/machine.js'
import { CrashLab, powerCut, readIds, runDry, runUntil } from './crash-lab.js'

t.test('a flush is answered by one of the disk that began after the writes had ended', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest, ring } = machine, { history } = guest
  guest.ask(REQUEST_KIND.write, 0, 8)
  t.ok(await runDry(machine))
  ring.hold = (file, kind) => file === REGION && kind === 'flush'
  guest.flush()
  guest.ask(REQUEST_KIND.write, 8, 8)
  t.ok(await runUntil(machine, () => guest.inFlight === 1), 'the second write does not wait for the flush')
  guest.flush()
  for (let i = 0; i < 50; i++) machine.tick()
  t.same(history.flushes.map(({ ackedAt }) => ackedAt), [Infinity, Infinity], 'neither is answered')
  ring.release()
  ring.hold = (file, kind) => file === REGION && kind === 'flush'
  t.ok(await runUntil(machine, () => ring.held === 1))
  t.same(history.flushes.map(({ ackedAt }) => ackedAt < Infinity), [true, false], 'the second one needs a flush of its own')
  t.equal(checkWindow(history, await readIds(await lab.machine(powerCut(machine))), 1, 2), null, 'the first write is there')
  ring.release()
  t.ok(await runDry(machine))
  t.equal(checkWindow(history, await readIds(await lab.machine(powerCut(machine))), 2, 2), null, 'now both are')
})
