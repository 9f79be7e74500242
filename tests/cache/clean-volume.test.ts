import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CleanCache } from '../../lib/cache/clean-cache.js'
import { CleanVolume } from '../../lib/cache/clean-volume.js'
import type { Claim } from '../../lib/core/claim.js'
import { RUN } from '../../lib/core/layer.js'
import { epoch, won } from '../../lib/core/units.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import type { Extents } from '../../lib/ports/clean.js'
import type { SegmentedLog } from '../../lib/region/region-log.js'
import { RegionLab, SEGMENT_BYTES, VOLUME, put } from '../region/region-lab.js'

const memory = new AlignedMemory(1024 * 1024)
const SEGMENT_BLOCKS = SEGMENT_BYTES / 4096

interface Lab { readonly lab: RegionLab; readonly cache: CleanCache; readonly clean: CleanVolume; readonly region: Awaited<ReturnType<RegionLab['open']>> }

async function open(t: Test, segments = 8, quotaBytes: number | null = null): Promise<Lab> {
  const lab = new RegionLab(t), region = await lab.open(segments), cache = new CleanCache(region)
  const clean = new CleanVolume(cache, { quotaBytes, logBytes: () => region.logBytes(VOLUME) })
  t.teardown(async () => { await clean.close(); cache.close() })
  return { lab, cache, clean, region }
}

/** Byte of the region where the block of the guest's disk is, or null. */
function find(clean: CleanVolume, block: number): number | null {
  let at: number | null = null
  clean.lookup(block * 8, 8, (_lba, _sectors, location) => { at = location * 512 }, () => undefined)
  return at
}

/** Blocks with this content come in, as from a read that missed. */
async function fill(clean: CleanVolume, block: number, content: number, blocks = 1): Promise<void> {
  memory.bytes.fill(content, 0, blocks * 4096)
  clean.fill(clean.observe(block * 8 + 10_000_000, 8), block * 8, blocks * 8, memory.address)
  await settle(clean)
}

async function settle(clean: CleanVolume): Promise<void> {
  const before = clean.filledBytes
  for (let i = 0; i < 100 && clean.filledBytes === before; i++) {
    clean.tick()
    await sleep(2)
  }
  await sleep(5)
}

const extents = (lba: number, sectors: number, location: number, kind: number = RUN.data): Extents =>
  ({ local: true, lba: [lba], sectors: [sectors], kind: [kind], location: [location] })

t.test('what was missed is found, whole blocks of it, and lies in the region', async (t) => {
  const { lab, clean, region } = await open(t)
  memory.bytes.fill(7, 0, 3 * 4096)
  clean.fill(clean.observe(0, 20), 4, 20, memory.address)
  await settle(clean)
  t.equal(find(clean, 0), null, 'half a block is none')
  for (const block of [1, 2]) t.ok(lab.bytes(find(clean, block)!, 4096).equals(Buffer.alloc(4096, 7)), `block ${block}`)
  t.ok(region.sums.knows(find(clean, 1)! / 4096), 'and has a sum')
  const runs: unknown[] = []
  clean.lookup(4, 24, (lba, sectors, location) => runs.push(['hit', lba, sectors, location * 512 - find(clean, 1)!]), (lba, sectors) => runs.push(['miss', lba, sectors]))
  t.same(runs, [['miss', 4, 4], ['hit', 8, 16, 0], ['miss', 24, 4]], 'neighbours come as one run')
})

t.test('a read that began before a cut ended is not believed', async (t) => {
  const { clean } = await open(t)
  const stamp = clean.observe(0, 8)
  await clean.absorb([])
  clean.fill(stamp, 0, 8, memory.address)
  const during = clean.observe(8, 8)
  clean.fill(during, 8, 8, memory.address)
  // On its way to the region when the next cut ends.
  clean.tick()
  await clean.absorb([])
  await settle(clean)
  t.same([find(clean, 0), find(clean, 1)], [null, null])
})

t.test('a cut leaves its whole blocks where they are, and takes out what they supersede', async (t) => {
  const { clean, region } = await open(t)
  const log = region.createLog(VOLUME, epoch(1), won(0), 'b'.repeat(32))
  for (const block of [0, 1, 2, 3, 9]) await fill(clean, block, 1)
  const stored = await put(log, 1, { sectors: 16, lba: 0 })
  const location = stored.offset / 512 + 8
  await clean.absorb([extents(0, 16, location), extents(20, 2, location), extents(72, 8, 0, RUN.zero)])
  t.same([find(clean, 0), find(clean, 1)], [location * 512, location * 512 + 4096], 'moved to the log')
  t.equal(find(clean, 2), null, 'a part of it is newer')
  t.not(find(clean, 3), null)
  t.equal(find(clean, 9), null, 'zeroed')
  await clean.absorb([{ ...extents(8, 8, 0), local: false }])
  t.equal(find(clean, 1), null, 'what came from another host is not here')
})

t.test('segments that a log leaves stay for what is clean in them; the oldest goes when a log needs it', async (t) => {
  const { cache, clean, region } = await open(t, 6)
  const log = region.createLog(VOLUME, epoch(1), won(0), 'b'.repeat(32)) as SegmentedLog
  let last = 0
  for (let i = 1; i <= 8; i++) last = (await put(log, i, { sectors: 1000, lba: i * 1000 })).offset
  // Four records a segment: two segments are full, the log goes on in a third.
  await put(log, 9, { sectors: 1000, lba: 9000 })
  for (let i = 1; i <= 8; i++) {
    const offset = log.segments[Math.floor((i - 1) / 4)]!.offsets![(i - 1) % 4]!
    await clean.absorb([extents(i * 1000, 1000, offset / 512 + 8)])
  }
  t.ok(last > 0)
  log.trim(won(8))
  t.same([cache.count, region.freeSegments], [2, 5], 'clean segments count as free')
  t.not(find(clean, 2000 / 8), null)
  for (let i = 10; i <= 24; i++) await put(log, i, { sectors: 1000, lba: 100_000 })
  t.equal(find(clean, 2000 / 8), null, 'the oldest went')
  t.ok(region.freeSegments >= 1)
})

t.test('a block that was read is kept when its segment goes, one that was not is not', async (t) => {
  const { lab, cache, clean } = await open(t, 8)
  for (let i = 0; i < 2; i++) await fill(clean, i * 200, i + 1, 200)
  await fill(clean, 400, 3, 200)
  t.equal(cache.count, 1, 'the first segment is full')
  find(clean, 5)
  t.ok(cache.reclaim())
  await settle(clean)
  t.ok(lab.bytes(find(clean, 5)!, 4096).equals(Buffer.alloc(4096, 1)), 'read once, and here again')
  t.equal(find(clean, 6), null)
})

t.test('a quota bounds what a volume has', async (t) => {
  const { cache, clean } = await open(t, 16, 3 * SEGMENT_BYTES)
  for (let i = 0; i < 14; i++) await fill(clean, i * 250, i, 250)
  t.ok(clean.bytes <= 3 * SEGMENT_BYTES, `${clean.bytes / SEGMENT_BYTES} segments`)
  t.ok(clean.bytes >= SEGMENT_BYTES)
  t.not(find(clean, 13 * 250), null, 'the newest is here')
  t.equal(find(clean, 0), null, 'the oldest is not')
  t.ok(cache.map.count <= 3 * SEGMENT_BLOCKS)
})

t.test('scans and a pause leave the cache as it is', async (t) => {
  const { clean } = await open(t)
  let stamp = 0
  for (let i = 0; i < 300; i++) stamp = clean.observe(i * 8, 8)
  t.equal(stamp, -1, 'a long stream')
  t.ok(clean.observe(1_000_000, 8) >= 0)
  clean.populating = false
  t.equal(clean.observe(2_000_000, 8), -1)
})

t.test('it is kept only for an owner who follows himself', async (t) => {
  const { clean, region } = await open(t)
  const self = { host: 'alpha', incarnation: region.incarnation }, other = { host: 'beta', incarnation: 'c'.repeat(32) }
  const claim = (n: number, owner = self): Claim => ({ epoch: epoch(n), nonce: `${n}`.repeat(32), owner }) as Claim
  clean.own(self, null, claim(1), true)
  await fill(clean, 1, 1)
  clean.own(self, claim(1), claim(2), true)
  t.not(find(clean, 1), null, 'a change of its own')
  clean.released(claim(3))
  clean.own(self, claim(3), claim(4), true)
  t.not(find(clean, 1), null, 'released, and taken again')
  clean.own(self, claim(4), claim(5), false)
  t.equal(find(clean, 1), null, 'the backing was changed meanwhile')
  await fill(clean, 1, 1)
  clean.own(self, claim(5, other), claim(6), true)
  t.equal(find(clean, 1), null, 'another host was in between')
  await fill(clean, 1, 1)
  clean.own(self, claim(7), claim(8), true)
  t.equal(find(clean, 1), null, 'a claim that this process did not leave')
})

t.test('segments of the read cache are nobody\'s log at the next start', async (t) => {
  const { lab, clean, cache, region } = await open(t, 6)
  const log = region.createLog(VOLUME, epoch(1), won(0), 'b'.repeat(32))
  for (let i = 1; i <= 13; i++) await put(log, i, { sectors: 1000, lba: i * 1000 })
  await region.saveVolumeState(VOLUME, { base: won(12) })
  log.trim(won(12))
  // Into segments that have headers and records of the log.
  for (let i = 0; i < 5; i++) await fill(clean, i * 250, 0x5a, 250)
  t.ok(readFileSync(lab.path).includes(Buffer.alloc(4096, 0x5a)))
  await clean.close()
  cache.close()
  const again = await lab.open()
  t.equal(again.logs(VOLUME)[0]!.storedLength, 13)
})
