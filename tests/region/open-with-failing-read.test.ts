/** One of many reads at the open of a region fails: nothing is given back while the others are still under way. */
import t from 'tap'
import { Random } from '../../fixtures/fuzz/random.js'
import { MemoryRing } from '../../fixtures/crash/memory-ring.js'
import { Timeline, turn } from '../../fixtures/crash/timeline.js'
import { openRegion } from '../../lib/region/region.js'
import { RegionLab, SEGMENT_BYTES, newLog, putMany } from './region-lab.js'

t.test('reads of segment headers and of whole segments', async (t) => {
  const lab = new RegionLab(t), region = await lab.open()
  await putMany(newLog(region), 0, 12, { sectors: 1000 })
  await lab.close()
  const bytes = new Uint8Array(lab.bytes(0, Infinity))
  let failures = 0
  for (let failing = 1; ; failing++) {
    const timeline = new Timeline(), ring = new MemoryRing(timeline), random = new Random(failing)
    let reads = 0, outcome: 'open' | 'failed' | null = null, underWay = -1
    ring.load('cache', bytes)
    ring.intrude = () => (++reads === failing ? -5 : 0)
    const opened = openRegion(ring, lab.path, { host: 'alpha', sizeBytes: null, segmentBytes: SEGMENT_BYTES, progress: () => undefined })
    const ended = opened.then((open) => { outcome = 'open'; return open.close() }, () => { outcome = 'failed'; underWay = timeline.pending })
    while (outcome === null) { await turn(); timeline.endOne(random) }
    await ended
    ring.close()
    if (reads < failing) break
    failures++
    // The probe of the alignment is allowed to fail.
    if (outcome === 'failed') t.equal(underWay, 0, `read ${failing}`)
  }
  t.ok(failures > 8, `${failures} reads at an open`)
})
