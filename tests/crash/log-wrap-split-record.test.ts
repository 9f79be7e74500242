/** Ceph PWL 41093: a log entry split at the ring's end. Records of all sizes go round the region twice and are found again. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { SEGMENTS, SEGMENT_BYTES } from '../../fixtures/crash/machine.js'
import { CrashLab, powerCut, readIds, runDry } from './crash-lab.js'

t.test('records that do not divide a segment, twice around', async (t) => {
  const lab = new CrashLab(t, { durability: 'write' }), machine = await lab.machine(), { guest, volume } = machine
  for (let i = 0; volume.counters.recordBytes < 2 * SEGMENTS * SEGMENT_BYTES; i++) {
    guest.ask(REQUEST_KIND.write, (i * 131) % 4000, 1 + (i * 397) % 2048)
    t.ok(await runDry(machine), `request ${i} is answered`)
    if (i % 9 === 8) {
      const { history } = guest, after = await lab.machine(powerCut(machine))
      t.match(checkPrefix(history, await readIds(after), history.writes.length, history.writes.length), { position: history.end }, `after ${i + 1} records`)
    }
  }
  t.ok(volume.counters.cuts > 1, 'space was given back on the way')
})
