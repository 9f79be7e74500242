/** Ceph PWL 42555: the end of a destage removed a newer entry of the index. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { IMAGE } from '../../fixtures/crash/machine.js'
import { CrashLab, powerCut, readIds, runDry, runUntil } from './crash-lab.js'

t.test('what is written over during a cut is still read from the log after it', async (t) => {
  const lab = new CrashLab(t, { durability: 'write' }), machine = await lab.machine(), { guest, ring, volume } = machine
  guest.ask(REQUEST_KIND.write, 100, 60)
  t.ok(await runDry(machine))
  ring.hold = (file, kind) => file === IMAGE && kind === 'flush'
  const cut = volume.cuts.destager.cut(null)
  t.ok(await runUntil(machine, () => ring.held === 1), 'everything is written, the flush is under way')
  guest.ask(REQUEST_KIND.write, 110, 9)
  guest.ask(REQUEST_KIND.discard, 130, 11)
  t.ok(await runDry(machine))
  ring.release()
  await machine.drive('the cut', () => cut)
  t.equal(volume.base, 1, 'only the first record is on the image')
  const { history } = guest
  t.match(checkPrefix(history, await readIds(machine), 3, 3), { position: history.end }, 'as the guest reads it')
  t.match(checkPrefix(history, await readIds(await lab.machine(powerCut(machine))), 3, 3), { position: history.end }, 'and after a power cut')
})
