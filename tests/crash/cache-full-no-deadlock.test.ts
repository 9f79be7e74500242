/** Ceph PWL 39915: with a full cache I/O hung for ever. Here it waits, without an error, until the image takes writes again. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { identify } from '../../fixtures/crash/history.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { IMAGE } from '../../fixtures/crash/machine.js'
import { CrashLab, runDry } from './crash-lab.js'

/** Ten times what a write needs that does not wait for the image. */
const SOON_TURNS = 300

for (const [how, stuck] of [['does not answer', true], ['refuses everything', false]] as const) {
  t.test(`the image ${how}`, async (t) => {
    const lab = new CrashLab(t), machine = await lab.machine(), { guest, ring } = machine
    if (stuck) ring.hold = (file, kind) => file === IMAGE && kind !== 'read'
    else ring.intrude = (file, kind) => (file === IMAGE && kind !== 'read' ? -28 : 0)
    let asked = 0, full = false
    for (; asked < 100 && !full; asked++) {
      guest.ask(REQUEST_KIND.write, (asked * 700) % 4000, 1900)
      full = !await runDry(machine, SOON_TURNS)
    }
    t.ok(full && asked > 4, `request ${asked} waits`)
    t.same(guest.wrong, [], 'and nothing has failed')
    ring.intrude = () => 0
    ring.release()
    t.ok(await runDry(machine), 'it goes on')
    for (let i = 0; i < 10; i++) {
      guest.ask(REQUEST_KIND.write, i * 300, 1900)
      t.ok(await runDry(machine))
    }
    await machine.flush()
    const { history } = guest
    t.match(checkPrefix(history, identify(machine.disk(IMAGE).content), history.writes.length, history.writes.length), { position: history.end })
    t.same(guest.wrong, [])
  })
}
