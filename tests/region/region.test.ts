import t from 'tap'
import { RUN } from '../../lib/core/layer.js'
import { RunBuffer } from '../../lib/core/run-list.js'
import { epoch, won } from '../../lib/core/units.js'
import { EXIT } from '../../lib/core/failure.js'
import { operation } from '../../lib/io/operation.js'
import { limits } from '../../lib/limits.js'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, putMany } from './region-lab.js'

const OTHER = '99999999-2222-4333-8444-555555555555'

t.test('a region that is created is the same one when it is opened again', async (t) => {
  const lab = new RegionLab(t)
  const made = await lab.open(5)
  t.same([made.segmentCount, made.freeSegments, made.segmentBytes, made.host, made.path], [5, 5, SEGMENT_BYTES, 'alpha', lab.path])
  t.match(made.incarnation, /^[0-9a-f]{32}$/)
  const again = await lab.open(9)
  t.same([again.segmentCount, again.freeSegments, again.incarnation], [5, 5, made.incarnation], 'its size is not asked for any more')
  t.same([again.volumes(), again.logs(VOLUME)], [[], []])
})

t.test('an open region is not opened a second time', async (t) => {
  const lab = new RegionLab(t)
  await lab.open()
  const second = new RegionLab(t)
  Object.assign(second, { path: lab.path })
  await t.rejects(second.open(), { exitCode: EXIT.unsafe, message: `region ${lab.path} is in use by another process; one daemon has one region` })
})

t.test('records are found again after a close, with their places and their data', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open(), 3, 40)
  const stored = await putMany(log, 40, 9, { sectors: QUARTER })
  t.equal(log.storedLength, 9)
  t.equal(log.bytes, 3 * SEGMENT_BYTES, 'four of them fill a segment')
  const again = await lab.open()
  t.same(again.volumes(), [VOLUME])
  const [found, ...more] = again.logs(VOLUME)
  t.same(more, [])
  const { nonce, lastHeaderCrc } = log
  t.match(found, { volume: VOLUME, epoch: 3, start: 40, nonce, storedLength: 9, lastHeaderCrc, bytes: 3 * SEGMENT_BYTES })
  t.equal(again.freeSegments, 3)
  const layer = await found!.buildLayer(9, won(40))
  for (const record of stored) {
    const runs = new RunBuffer()
    // Each overwrites all but the first eight sectors of the one before.
    layer.lookup(record.won * 8, 8, runs)
    t.same([runs.count, runs.kind[0], runs.location[0]], [1, RUN.data, (record.offset + HEADER_BYTES) / 512])
    t.ok(lab.bytes(record.offset + HEADER_BYTES, 4096).equals(record.payload.subarray(0, 4096)), `data of ${record.won}`)
  }
})

t.test('only what is kept and above the base is indexed', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open())
  await putMany(log, 0, 6)
  const layer = await log.buildLayer(4, won(2))
  t.equal(layer.dirtySectors, 2 * 8, 'records 3 and 4')
  await t.rejects(log.buildLayer(7, won(0)), /what is kept is stored/)
})

t.test('a log that is found again goes on where it ended', async (t) => {
  const lab = new RegionLab(t)
  await putMany(newLog(await lab.open()), 0, 5, { sectors: QUARTER })
  const log = (await lab.open()).logs(VOLUME)[0]!
  await putMany(log, 5, 5, { sectors: QUARTER })
  t.equal((await lab.open()).logs(VOLUME)[0]!.storedLength, 10)
})

t.test('trim frees the segments whose records all lie at or below the base, and no other', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  const log = newLog(region)
  await putMany(log, 0, 9, { sectors: QUARTER })
  for (const [base, free] of [[3, 3], [4, 4], [7, 4], [8, 5], [9, 5]] as const) {
    await region.saveVolumeState(VOLUME, { base: won(base) })
    log.trim(won(base))
    t.equal(region.freeSegments, free, `base ${base}`)
  }
  await put(log, 10)
  const again = await lab.open()
  t.match(again.logs(VOLUME), [{ storedLength: 10, bytes: SEGMENT_BYTES }])
  t.equal(again.freeSegments, 5)
})

t.test('a log that lies below the base as a whole is gone at the next open', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  await putMany(newLog(region), 0, 3)
  await region.saveVolumeState(VOLUME, { base: won(3) })
  const again = await lab.open()
  t.same([again.logs(VOLUME), again.freeSegments], [[], 6])
})

t.test('a deleted log does not come back when some of its segments are used again', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(4)
  const log = newLog(region)
  await putMany(log, 0, 12, { sectors: QUARTER })
  t.equal(region.freeSegments, 1)
  region.deleteLog(log)
  t.same(region.logs(VOLUME), [])
  await lab.close()
  const after = await lab.open()
  t.same([after.logs(VOLUME), after.freeSegments], [[], 4], 'right after the deletion')
  const other = newLog(after, 2, 0, OTHER)
  await putMany(other, 0, 8, { sectors: QUARTER })
  t.equal(after.freeSegments, 2, 'so that one or two of the three were used again')
  const again = await lab.open()
  t.same(again.volumes(), [OTHER])
  t.match(again.logs(OTHER), [{ storedLength: 8 }])
  t.equal(again.freeSegments, 2)
})

t.test('a deletion that a power cut broke off is finished at the next open', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(4), log = newLog(region)
  await putMany(log, 0, 12, { sectors: QUARTER })
  const last = segmentOffset(2, SEGMENT_BYTES), header = lab.bytes(last, 4096)
  region.deleteLog(log)
  await lab.close()
  t.notSame(lab.bytes(last, 4096), header)
  lab.overwrite(last, header)
  const after = await lab.open()
  t.same([after.logs(VOLUME), after.freeSegments], [[], 4])
  // Takes the two segments that tell of the deletion.
  await putMany(newLog(after, 2, 0, OTHER), 0, 8, { sectors: QUARTER })
  const again = await lab.open()
  t.same([again.logs(VOLUME), again.freeSegments], [[], 2])
})

t.test('what lies behind a torn end does not come back when the log before it is gone', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open(4))
  const stored = await putMany(log, 0, 12, { sectors: QUARTER })
  await lab.close()
  // The power took a record in the first of three segments.
  lab.overwrite(stored[2]!.offset, Buffer.alloc(4096))
  const torn = await lab.open()
  t.match(torn.logs(VOLUME), [{ storedLength: 2 }])
  t.equal(torn.freeSegments, 3)
  await torn.saveVolumeState(VOLUME, { base: won(2) })
  const after = await lab.open()
  t.same(after.logs(VOLUME), [])
  // Takes the first two segments: the third one is as it was.
  await putMany(newLog(after, 2, 0, OTHER), 0, 8, { sectors: QUARTER })
  const again = await lab.open()
  t.same([again.volumes(), again.freeSegments], [[OTHER], 2])
})

t.test('a region knows whether the machine went down with it open', async (t) => {
  const lab = new RegionLab(t), [one, two, three] = ['1'.repeat(32), '2'.repeat(32), '3'.repeat(32)]
  t.equal((await lab.open(4, 'alpha', one)).powerLosses, 0)
  t.equal((await lab.open(4, 'alpha', two)).powerLosses, 0, 'it was closed before')
  const open = lab.bytes(0, limits.superblockBytes * 2)
  t.equal((await lab.open(4, 'alpha', two)).powerLosses, 0)
  await lab.close()
  lab.overwrite(0, open)
  t.equal((await lab.open(4, 'alpha', two)).powerLosses, 0, 'its process ended, the machine did not')
  await lab.close()
  lab.overwrite(0, open)
  t.equal((await lab.open(4, 'alpha', three)).powerLosses, 1)
  t.equal((await lab.open(4, 'alpha', one)).powerLosses, 1, 'which is never forgotten')
})

t.test('the last free segment of a region is kept for a log without one', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(3)
  const log = newLog(region)
  const stored = await putMany(log, 0, 8, { sectors: QUARTER })
  t.equal(region.freeSegments, 1)
  t.notOk(log.hasRoom(stored[0]!.lengthBytes), 'for the log that has two')
  t.ok(log.hasRoom(4096), 'what is left of its open segment is still there')
  const next = newLog(region, 2, 8)
  t.ok(next.hasRoom(stored[0]!.lengthBytes), 'for a log of the next epoch')
  await put(next, 9, { sectors: QUARTER })
  t.notOk(newLog(region, 3, 9).hasRoom(8192), 'and then there is none')
  await region.saveVolumeState(VOLUME, { base: won(8) })
  log.trim(won(8))
  t.equal(region.freeSegments, 2, 'a full region gets the last segment of a log too, when nothing in it counts')
})

t.test('what a host has promised for a volume survives, and never goes back', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  t.same(region.volumeState(VOLUME), { sealed: 0, base: 0 })
  await region.saveVolumeState(VOLUME, { sealed: epoch(4) })
  await region.saveVolumeState(VOLUME, { base: won(2 ** 40) })
  await region.saveVolumeState(OTHER, { sealed: epoch(1) })
  const again = await lab.open()
  t.same(again.volumeState(VOLUME), { sealed: 4, base: 2 ** 40 })
  t.same(again.volumeState(OTHER), { sealed: 1, base: 0 })
  await t.rejects(again.saveVolumeState(VOLUME, { sealed: epoch(3) }), /never goes back/)
  await t.rejects(again.saveVolumeState(VOLUME, { base: won(2 ** 40 - 1) }), /never goes back/)
  t.same((await lab.open()).volumeState(VOLUME), { sealed: 4, base: 2 ** 40 })
})

t.test('samples belong to one base, and are gone for good when they are taken back', async (t) => {
  const lab = new RegionLab(t), region = await lab.open()
  const samples = [{ lba: 2 ** 35 - 24, sectors: 8, crc: 0xffff_ffff }, { lba: 0, sectors: 1, crc: 0 }]
  await region.saveVolumeState(VOLUME, { base: won(5), samples })
  await region.saveVolumeState(VOLUME, { sealed: epoch(2) })
  await region.saveVolumeState(OTHER, { base: won(1), samples: samples.slice(1) })
  const again = await lab.open()
  t.same(again.volumeState(VOLUME), { sealed: 2, base: 5, samples })
  t.same(again.volumeState(OTHER), { sealed: 0, base: 1, samples: samples.slice(1) })
  await again.saveVolumeState(VOLUME, { base: won(5) })
  t.same(again.volumeState(VOLUME), { sealed: 2, base: 5 })
  await again.saveVolumeState(OTHER, { base: won(2) })
  t.same(again.volumeState(OTHER), { sealed: 0, base: 2 }, 'a base that comes without any has none')
  await lab.close()
  const newer = lab.bytes(16, 8).readBigUInt64LE() > lab.bytes(limits.superblockBytes + 16, 8).readBigUInt64LE() ? 0 : 1
  lab.overwrite(newer * limits.superblockBytes, Buffer.from('damage'))
  t.same((await lab.open()).volumeState(VOLUME), { sealed: 2, base: 5 }, 'also when only the older slot is left')
})

t.test('promises that are made at the same time are all kept', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  await Promise.all(Array.from({ length: 20 }, (_, i) => region.saveVolumeState(VOLUME, i % 2 === 0 ? { base: won(i + 1) } : { sealed: epoch(i) })))
  t.same(region.volumeState(VOLUME), { sealed: 19, base: 19 })
  t.same((await lab.open()).volumeState(VOLUME), { sealed: 19, base: 19 })
})

t.test('a segment that is freed while it is read is not used again before the reader is done (H14)', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(4)
  const log = newLog(region)
  const [first] = await putMany(log, 0, 5, { sectors: QUARTER })
  await region.saveVolumeState(VOLUME, { base: won(4) })
  const early = region.pinReads()
  log.trim(won(4))
  const late = region.pinReads()
  t.equal(region.freeSegments, 2, 'freed, and not free yet')
  await putMany(log, 5, 7, { sectors: QUARTER })
  t.ok(lab.bytes(first!.offset + HEADER_BYTES, first!.payload.length).equals(first!.payload), 'the reader finds what it looked for')
  t.notOk(log.hasRoom(first!.lengthBytes), 'rather full than overwritten')
  region.unpinReads(early)
  t.equal(region.freeSegments, 2, 'a reader that came later has no business there')
  t.ok(log.hasRoom(first!.lengthBytes))
  region.unpinReads(late)
  t.throws(() => region.unpinReads(late), /released once/)
})

t.test('the bytes that were appended are counted, and a flush is one of the disk', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  const before = region.appendedBytes
  await put(newLog(region), 1)
  t.equal(region.appendedBytes - before, 4096 + 8192, 'the segment header and the record')
  t.equal(await operation((target) => region.flush(target, 0)), 0)
})
