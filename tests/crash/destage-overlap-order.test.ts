/** Ceph PWL 43127, 44103: overlapping writes and discards reached the image in another order than the guest's. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { identify } from '../../fixtures/crash/history.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { IMAGE } from '../../fixtures/crash/machine.js'
import { CrashLab, remainsNow, runDry } from './crash-lab.js'

const KINDS = [REQUEST_KIND.write, REQUEST_KIND.discard, REQUEST_KIND.write, REQUEST_KIND.writeZeroes]

t.test('writes, discards and zeroes over each other, in two epochs, any order of completion', async (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    const lab = new CrashLab(t, { seed }), first = await lab.machine()
    for (let i = 0; i < 24; i++) {
      first.guest.ask(KINDS[i % 4]!, 40 + (i * 7) % 30, 1 + (i * 11) % 40)
      if (i % 5 === 4) t.ok(await runDry(first))
    }
    t.ok(await runDry(first))
    // The second epoch inherits what was never destaged, and writes over it.
    const second = await lab.machine(remainsNow(first, (disk, at) => ({ medium: disk.mediumAt(at, () => true), cached: [] })))
    second.guest.adopt(first.guest.history)
    for (let i = 0; i < 12; i++) {
      second.guest.ask(KINDS[(i + 1) % 4]!, 50 + (i * 5) % 20, 1 + (i * 13) % 30)
      t.ok(await runDry(second))
    }
    await second.flush()
    const { history } = second.guest, image = second.disk(IMAGE)
    t.match(checkPrefix(history, identify(image.content), history.writes.length, history.writes.length), { position: history.end }, `seed ${seed}`)
    t.equal(image.overlapping, 0, 'never two on their way to one sector')
  }
})
