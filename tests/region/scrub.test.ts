/** Pieces of a log as a scrub takes them, over a real region. */
import { truncateSync } from 'node:fs'
import t, { type Test } from 'tap'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import type { Region, RegionLog } from '../../lib/ports/region.js'
import { checkPiece, type CheckedPiece, type PieceStart } from '../../lib/region/scrub.js'
import type { FileRegion } from '../../lib/region/region.js'
import { QUARTER, RegionLab, VOLUME, newLog, putMany, type Stored } from './region-lab.js'

const noise = Buffer.from([0xff, 0xfe, 0xfd])

interface Made { readonly lab: RegionLab; readonly region: FileRegion; readonly log: RegionLog; readonly stored: readonly Stored[] }

async function made(t: Test, count: number, options = {}): Promise<Made> {
  const lab = new RegionLab(t), region = await lab.open(), log = newLog(region)
  return { lab, region, log, stored: await putMany(log, 0, count, options) }
}

const check = ({ region, log }: Pick<Made, 'region' | 'log'>, after: number, to: number, more: Partial<PieceStart> = {}): Promise<CheckedPiece> =>
  checkPiece(region, VOLUME, log, { after: won(after), to: won(to), digest: 0, previous: 0, ...more })

t.test('pieces are bounded, and their digests and chain go on from one to the next', async (t) => {
  const all = await made(t, 16, { sectors: QUARTER })
  const whole: CheckedPiece[] = []
  for (let at = 0, from = {}; at < 16; at = whole.at(-1)!.next) {
    const piece = await check(all, at, 16, from)
    whole.push(piece)
    from = { digest: piece.digest, previous: piece.previous }
  }
  t.ok(whole.length > 1, `${whole.length} pieces`)
  t.ok(whole.every(({ bytes }) => bytes < limits.scrubPieceBytes + 2 ** 20))
  t.equal(whole.reduce((sum, { records }) => sum + records, 0), 16)
  let at = 0, digest = 0
  while (at < 16) ({ next: at, digest } = await check(all, at, Math.min(16, at + 3), { digest }))
  t.equal(digest, whole.at(-1)!.digest, 'however it is cut')
  t.not((await check(all, 0, 3)).digest, (await check(all, 1, 4)).digest)
  t.equal(all.region.freeSegments, 2, 'nothing is pinned')
})

t.test('damage is named, ends its piece, and the next piece goes on behind it', async (t) => {
  const all = await made(t, 9), { lab, stored } = all
  const sound = await check(all, 0, 9)
  t.match(sound, { next: 9, records: 9, bytes: 9 * 8192, damage: null, base: 0, stored: 9 })
  lab.overwrite(stored[3]!.offset + HEADER_BYTES + 100, noise)
  lab.overwrite(stored[6]!.offset + 200, noise)
  const first = await check(all, 0, 9), second = await check(all, first.next, 9), third = await check(all, second.next, 9)
  t.match(first, { next: 4, records: 3, damage: { record: 4, offsetBytes: stored[3]!.offset, what: 'its data is damaged' } })
  t.match(second, { next: 7, records: 2, damage: { record: 7, offsetBytes: stored[6]!.offset, what: 'the header does not match its checksum' } })
  t.match(third, { next: 9, records: 2, damage: null })
})

t.test('a record that is good in itself and follows another one than is there', async (t) => {
  const all = await made(t, 5), { previous } = await check(all, 0, 2)
  t.match(await check(all, 2, 5, { previous }), { records: 3, damage: null })
  t.match(await check(all, 2, 5, { previous: previous ^ 1 }), { next: 3, records: 0, damage: { record: 3, offsetBytes: all.stored[2]!.offset, what: 'it does not follow the record before it' } })
})

t.test('after an open that believed summaries, a header that is gone hides those behind it', async (t) => {
  const { lab, stored } = await made(t, 9, { sectors: QUARTER, durable: true })
  const region = await lab.open(), log = region.logs(VOLUME)[0]!
  t.match(await check({ region, log }, 0, 8), { records: 8, damage: null })
  lab.overwrite(stored[1]!.offset + 200, noise)
  t.match(await check({ region, log }, 0, 8), { next: 8, records: 0, damage: { record: 2, what: /; other records of this log were not checked$/ } })
})

t.test('what is at or below the base, or in a log that is gone, does not count', async (t) => {
  const all = await made(t, 9), { lab, region, stored } = all
  lab.overwrite(stored[3]!.offset + HEADER_BYTES + 100, noise)
  await region.saveVolumeState(VOLUME, { base: won(4) })
  t.match(await check(all, 0, 9), { next: 9, records: 5, base: 4, damage: null })
  t.match(await check(all, 0, 3), { records: 0, base: 4, damage: null })
  t.match(await check(all, 5, 20), { next: 9, records: 4, stored: 9 }, 'no more than is stored')
  lab.overwrite(stored[7]!.offset + HEADER_BYTES + 100, noise)
  const late = check(all, 4, 9)
  region.deleteLog(all.log)
  t.match(await late, { damage: null, stored: 0 }, 'deleted while it was read')
  t.match(await checkPiece(region, VOLUME, undefined, { after: won(4), to: won(9), digest: 3, previous: 0 }), { next: 4, records: 0, digest: 3, base: 4, stored: 0 })
})

t.test('trimmed while it is read: not damage, and its segments are not used again before the piece is done', async (t) => {
  const { lab, region, log, stored } = await made(t, 12, { sectors: QUARTER }), free = region.freeSegments
  lab.overwrite(stored[1]!.offset + HEADER_BYTES + 100, noise)
  let freeMeanwhile = 0
  const trimmedMeanwhile: Pick<RegionLog, 'start' | 'storedLength' | 'verify'> = {
    start: log.start, storedLength: log.storedLength,
    verify: async (...from) => {
      const reading = log.verify(...from)
      reading.catch(() => undefined)
      await region.saveVolumeState(VOLUME, { base: won(8) })
      log.trim(won(8))
      freeMeanwhile = region.freeSegments
      return reading
    },
  }
  const seen = trimmedMeanwhile as RegionLog, facade: Pick<Region, 'volumeState' | 'logs' | 'pinReads' | 'unpinReads'> = {
    volumeState: (volume) => region.volumeState(volume), logs: () => [seen], pinReads: () => region.pinReads(), unpinReads: (pin) => region.unpinReads(pin),
  }
  t.match(await checkPiece(facade as Region, VOLUME, seen, { after: won(0), to: won(12), digest: 0, previous: 0 }), { damage: null, base: 8, stored: 12 })
  t.equal(freeMeanwhile, free)
  t.equal(region.freeSegments, free + 2)
})

t.test('a place that cannot be read is damage, whose record is known as nearly as it can be', async (t) => {
  const all = await made(t, 9)
  truncateSync(all.lab.path, all.stored[4]!.offset)
  t.match(await check(all, 4, 9), { next: 9, records: 0, damage: { record: 5, offsetBytes: null, what: /^it, or one soon after it, cannot be read \(I\/O error, errno 5\); other records/ } })
})
