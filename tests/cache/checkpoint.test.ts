import t, { type Test } from 'tap'
import { loadCheckpoint, saveCheckpoint } from '../../lib/cache/checkpoint.js'
import { CleanCache } from '../../lib/cache/clean-cache.js'
import { CleanVolume } from '../../lib/cache/clean-volume.js'
import { RUN } from '../../lib/core/layer.js'
import type { Claim } from '../../lib/core/claim.js'
import { epoch, won } from '../../lib/core/units.js'
import { segmentOffset } from '../../lib/region/layout.js'
import type { SegmentedLog } from '../../lib/region/region-log.js'
import { RegionLab, SEGMENT_BYTES, VOLUME, put } from '../region/region-lab.js'

const NONCE = 'b'.repeat(32)
const claimOf = (n: number, incarnation: string): Claim => ({ volume: VOLUME, epoch: epoch(n), nonce: NONCE, owner: { host: 'alpha', incarnation } }) as Claim

/** Two segments of a log, clean, and saved. */
async function saved(t: Test): Promise<{ lab: RegionLab; incarnation: string }> {
  const lab = new RegionLab(t), region = await lab.open(8), cache = new CleanCache(region)
  const clean = new CleanVolume(cache, { quotaBytes: null, logBytes: () => 0 })
  clean.own({ host: 'alpha', incarnation: region.incarnation }, null, claimOf(1, region.incarnation), true)
  const log = region.createLog(VOLUME, epoch(1), won(0), NONCE) as SegmentedLog
  for (let i = 1; i <= 9; i++) {
    const { offset } = await put(log, i, { sectors: 1000, lba: i * 1000 })
    await clean.absorb([{ local: true, lba: [i * 1000], sectors: [1000], kind: [RUN.data], location: [offset / 512 + 8] }])
  }
  await region.saveVolumeState(VOLUME, { base: won(9) })
  log.trim(won(9))
  await clean.close()
  t.ok(await saveCheckpoint(region, cache, [clean.kept!]))
  cache.close()
  return { lab, incarnation: region.incarnation }
}

async function found(lab: RegionLab, incarnation: string, from: number): Promise<{ loaded: boolean; blocks: number; again: boolean }> {
  const region = await lab.open(), cache = new CleanCache(region), loaded = await loadCheckpoint(region, cache)
  const clean = new CleanVolume(cache, { quotaBytes: null, logBytes: () => 0 })
  clean.own({ host: 'alpha', incarnation }, claimOf(from, incarnation), claimOf(from + 1, incarnation), true)
  let blocks = 0
  clean.lookup(0, 16_000, (_lba, sectors) => { blocks += sectors / 8 }, () => undefined)
  const again = await loadCheckpoint(region, cache)
  await clean.close()
  cache.close()
  return { loaded, blocks, again }
}

t.test('what a stop saved is there again, once, for who follows the same claim', async (t) => {
  const { lab, incarnation } = await saved(t)
  t.same(await found(lab, incarnation, 1), { loaded: true, blocks: 1000, again: false }, 'two segments of four records; the last record\'s was the log\'s')
  t.same(await found(lab, incarnation, 1), { loaded: false, blocks: 0, again: false }, 'a process that crashes leaves none')
})

t.test('another claim in between, and nothing is believed', async (t) => {
  const { lab, incarnation } = await saved(t)
  t.same(await found(lab, incarnation, 2), { loaded: true, blocks: 0, again: false })
})

t.test('a checkpoint that is damaged anywhere is none, and nothing else suffers', async (t) => {
  for (const at of [8, 44, 4096, 4096 + 20, 4096 + 100, 20_000]) {
    const { lab, incarnation } = await saved(t)
    const region = await lab.open(), { segment } = region.checkpoint!
    await lab.close()
    const place = segmentOffset(segment, SEGMENT_BYTES) + at, byte = lab.bytes(place, 1)
    lab.overwrite(place, Buffer.from([byte[0]! ^ 0x40]))
    t.same(await found(lab, incarnation, 1), { loaded: false, blocks: 0, again: false }, `byte ${at}`)
    await lab.close()
  }
})
