/** Ceph PWL 43038: writes that had to be durable were not. Each answered write is there after a power cut, without any flush. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { CrashLab, powerCut, readIds, runDry, runUntil } from './crash-lab.js'

t.test('durability = "write", one after the other and side by side', async (t) => {
  const lab = new CrashLab(t, { durability: 'write' }), machine = await lab.machine(), { guest } = machine, { history } = guest
  for (let i = 0; i < 12; i++) {
    guest.ask([REQUEST_KIND.write, REQUEST_KIND.discard, REQUEST_KIND.writeZeroes][i % 3]!, i * 5, 12)
    if (i < 6) t.ok(await runDry(machine))
  }
  for (let left = guest.inFlight; left >= 0; left--) {
    t.ok(await runUntil(machine, () => guest.inFlight <= left))
    const after = await lab.machine(powerCut(machine)), acked = history.ackedAt(machine.timeline.now)
    t.notHas(checkPrefix(history, await readIds(after), acked, history.writes.length), { problem: String }, `${acked} are answered`)
  }
})
