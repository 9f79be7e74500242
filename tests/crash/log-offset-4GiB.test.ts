/** Ceph PWL 42046: 32-bit offsets. A log beyond 4 GiB is written, found again and indexed where it is. */
import t from 'tap'
import { RunBuffer } from '../../lib/core/run-list.js'
import { BlockSums } from '../../lib/core/block-sums.js'
import { epoch, won } from '../../lib/core/units.js'
import { openBlockFile } from '../../lib/io/block-file.js'
import { IoRing } from '../../lib/io/ring.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { SegmentedLog } from '../../lib/region/region-log.js'
import { groupLogs, readSegmentHeaders, scanLog } from '../../lib/region/scan.js'
import { SegmentPool } from '../../lib/region/segment-pool.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { VOLUME, put, type Stored } from '../region/region-lab.js'

const SEGMENT_BYTES = 2 * 1024 * 1024, SEGMENTS = 2600, FOUR_GIB = 2 ** 32
const INCARNATION = 'a'.repeat(32)

t.test('records on both sides of the border', async (t) => {
  const work = new Workspace('far'), ring = new IoRing(64)
  const file = await openBlockFile(ring, work.image('region', segmentOffset(SEGMENTS, SEGMENT_BYTES)), { readOnly: false })
  t.teardown(async () => { file.close(); ring.close(); await work.close() })
  const far = [2047, 2048, 2599], pool = new SegmentPool(file, INCARNATION, SEGMENT_BYTES, SEGMENTS, 0, far, new BlockSums(segmentOffset(SEGMENTS, SEGMENT_BYTES)))
  const log = new SegmentedLog(pool, { volume: VOLUME, epoch: epoch(1), start: won(0), nonce: 'b'.repeat(32), copied: false })
  const stored: Stored[] = []
  for (let i = 1; i <= 5; i++) stored.push(await put(log, i, { sectors: 2000, lba: i * 2000 }))
  t.ok(stored[0]!.offset < FOUR_GIB && stored.at(-1)!.offset > FOUR_GIB + 2 ** 30, 'on both sides of the border')

  const { headers } = await readSegmentHeaders(file, INCARNATION, SEGMENT_BYTES, SEGMENTS)
  t.same(headers.map(({ index }) => index), far.slice(0, headers.length))
  const found = await scanLog(file, groupLogs(headers).logs[0]!, SEGMENT_BYTES, won(0), { summaries: 'check' })
  t.same(found.segments.flatMap(({ offsets }) => offsets!), stored.map(({ offset }) => offset))
  const layer = await log.buildLayer(5, won(0)), runs = new RunBuffer()
  layer.lookup(10_000, 2000, runs)
  t.equal(runs.location[0], stored[4]!.offset / 512 + 8, 'the index points there')
})
