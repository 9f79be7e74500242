/** Summaries: when a segment gets one, what recovery takes from it, and that none is ever needed. */
import t from 'tap'
import type { Layer } from '../../lib/core/layer.js'
import { ENTRY, HEADER_BYTES, PAYLOAD_SECTORS_MAX, RecordBuilder, type EntryKind } from '../../lib/core/record.js'
import { SECTOR_BYTES, won } from '../../lib/core/units.js'
import { crc } from '../../lib/io/crc.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { limits } from '../../lib/limits.js'
import type { RegionLog } from '../../lib/ports/region.js'
import { segmentOffset } from '../../lib/region/layout.js'
import type { FileRegion } from '../../lib/region/region.js'
import { append, fakeLog, fakePool, type Pending } from './fake-file.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, putMany } from './region-lab.js'

/** Of this size a segment holds one. */
const BIG = 1024 * 1024 + 4096
/** Where a short summary lies. */
const summaryAt = (segment: number): number => segmentOffset(segment + 1, SEGMENT_BYTES) - 4096
const summariesOf = (seen: readonly Pending[]): number[] => seen.map(({ offset }) => offset).filter((offset) => [0, 1, 2].map(summaryAt).includes(offset))
const flush = (region: FileRegion): Promise<number> => operation((target) => region.flush(target, 0))

interface Entry { readonly lba: number; readonly sectors: number; readonly kind?: EntryKind }

async function putEntries(log: RegionLog, next: number, entries: readonly Entry[]): Promise<void> {
  const memory = new AlignedMemory(HEADER_BYTES + PAYLOAD_SECTORS_MAX * SECTOR_BYTES), builder = new RecordBuilder(memory.bytes)
  builder.begin()
  for (const [i, { lba, sectors, kind = ENTRY.data }] of entries.entries()) {
    const at = builder.addEntry(lba, sectors, kind)
    if (kind !== ENTRY.data) continue
    memory.bytes.fill(next, at, at + sectors * SECTOR_BYTES)
    builder.setPayloadCrc(i, crc(memory.bytes.subarray(at, at + sectors * SECTOR_BYTES), 0))
  }
  const { volume, epoch, nonce, start, lastHeaderCrc: previousHeaderCrc } = log
  const { lengthBytes, headerCrc } = builder.seal({ volume, epoch, nonce, start, won: won(next), previousHeaderCrc, flushedWon: won(0) }, crc)
  await operation((target) => { log.append(memory.address, lengthBytes, won(next), headerCrc, false, target, 0) })
  memory.free()
}

function extentsOf(layer: Layer): number[][] {
  const extents: number[][] = []
  layer.scan(0, (lba, sectors, kind, location) => extents.push([lba, sectors, kind, location]) > 0)
  return extents
}

/** Three segments of everything that a record may hold, of which the first two are left and flushed. */
async function made(lab: RegionLab): Promise<number> {
  const region = await lab.open(), log = newLog(region)
  let last = 0
  while (log.bytes < 3 * SEGMENT_BYTES) {
    const n = ++last
    await putEntries(log, n, [
      { lba: n * 16, sectors: 8 }, { lba: n * 16 + 3, sectors: 2 }, { lba: 2 ** 34 + n * 640, sectors: 600 },
      { lba: n * 16 + 4, sectors: 30, kind: ENTRY.zero }, { lba: 2 ** 32 - 8, sectors: 2 ** 31, kind: ENTRY.discard }, { lba: 2 ** 32 + n, sectors: 1 },
    ])
  }
  await flush(region)
  await lab.close()
  return last
}

async function found(lab: RegionLab, kept: number, base = 0): Promise<{ log: RegionLog; extents: number[][] }> {
  const log = (await lab.open()).logs(VOLUME)[0]!
  return { log, extents: extentsOf(await log.buildLayer(kept, won(base))) }
}

t.test('a segment gets its summary when a flush has covered all of it, and not before', async (t) => {
  const { file, pool } = fakePool(), log = fakeLog(pool)
  const flushPool = (): Promise<number> => operation((target) => pool.flush(target, 0))
  const done = [append(log, 1, BIG), append(log, 2, BIG)]
  file.seen[0]!.done()
  const early = flushPool()
  file.seen[1]!.done()
  file.seen[4]!.done()
  await early
  t.same(summariesOf(file.seen), [], 'its record was under way when that flush began')
  const late = flushPool()
  t.same(summariesOf(file.seen), [], 'the flush may fail')
  file.seen[5]!.done()
  await late
  t.same(summariesOf(file.seen), [summaryAt(0)], 'and the segment in use has none')
  for (const i of [2, 3]) file.seen[i]!.done()
  await Promise.all(done)
})

t.test('a failed flush leads to none', async (t) => {
  const { file, pool } = fakePool(), log = fakeLog(pool), done = Promise.all([append(log, 1, BIG), append(log, 2, BIG)])
  for (const each of file.seen.slice(0, 4)) each.done()
  await done
  const failed = operation((target) => pool.flush(target, 0))
  file.seen[4]!.done(-5)
  await t.rejects(failed)
  t.equal(file.seen.length, 5)
})

t.test('durable records need no flush, but all of their writes and the header\'s', async (t) => {
  for (const last of [0, 1]) {
    const { file, pool } = fakePool(), log = fakeLog(pool)
    const done = [1, 2].map((nth) => append(log, nth, BIG, true))
    file.seen[1 - last]!.done()
    for (const i of [2, 3]) file.seen[i]!.done()
    t.same(summariesOf(file.seen), [])
    file.seen[last]!.done()
    t.same(summariesOf(file.seen), [summaryAt(0)])
    await Promise.all(done)
  }
})

t.test('a segment is not used again while its summary is being written, and gets none when it is free', async (t) => {
  const { file, pool } = fakePool(), log = fakeLog(pool), done = [1, 2, 3].map((nth) => append(log, nth, BIG, nth !== 2))
  for (const each of file.seen.slice(0, 6)) each.done()
  await Promise.all(done)
  t.same(summariesOf(file.seen), [summaryAt(0)])
  log.trim(won(2))
  t.equal(pool.free, 2, 'the second segment only')
  file.seen[6]!.done()
  t.equal(pool.free, 3)
  const flushed = operation((target) => pool.flush(target, 0))
  file.seen[7]!.done()
  await flushed
  t.equal(file.seen.length, 8, 'what was waiting for a flush is not written into a free segment')
})

t.test('guests that never flush: the region does', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(limits.summaryFlushAt + 4), log = newLog(region)
  await putMany(log, 0, 4 * (limits.summaryFlushAt + 1), { sectors: QUARTER })
  await lab.close()
  t.equal(lab.bytes(summaryAt(0) + 4096 - 128, 4).toString(), 'HDFY')
})

t.test('a close waits for the flush that nobody asked for, and for what it leads to', async (t) => {
  const { file, pool } = fakePool(), events: string[] = []
  for (let i = 0; i < limits.summaryFlushAt; i++) pool.awaitFlush({ quiet: () => true, powerSafe: () => events.push('power-safe') })
  t.equal(file.seen.length, 1)
  const closed = pool.close().then(() => events.push('closed'))
  await new Promise((resolve) => setImmediate(resolve))
  t.same(events, [])
  file.seen[0]!.done()
  await closed
  t.same(events, [...Array.from({ length: limits.summaryFlushAt }, () => 'power-safe'), 'closed'])
})

t.test('a log that is found by its summaries is the one that was written', async (t) => {
  const lab = new RegionLab(t), kept = await made(lab)
  const fast = await found(lab, kept), { lastHeaderCrc, storedLength, bytes } = fast.log
  const part = [await found(lab, 8, 5), await found(lab, kept - 1, 3)]
  await lab.close()
  for (const segment of [0, 1]) {
    t.equal(lab.bytes(summaryAt(segment) + 4096 - 128, 4).toString(), 'HDFY')
    lab.overwrite(summaryAt(segment), Buffer.alloc(4096))
  }
  const slow = await found(lab, kept)
  t.match(slow.log, { lastHeaderCrc, storedLength, bytes })
  t.ok(fast.extents.length > 50)
  t.same(fast.extents, slow.extents)
  t.same(part.map(({ extents }) => extents), [(await found(lab, 8, 5)).extents, (await found(lab, kept - 1, 3)).extents], 'also of a part')
})

t.test('records in a segment with a summary are not read, and those of others are', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(), log = newLog(region), stored = await putMany(log, 0, 9, { sectors: QUARTER })
  await flush(region)
  await lab.close()
  for (const record of [stored[1]!, stored[8]!]) lab.overwrite(record.offset + HEADER_BYTES, Buffer.alloc(512))
  t.match((await lab.open()).logs(VOLUME), [{ storedLength: 8 }])
})

t.test('a summary that is damaged anywhere is as good as none', async (t) => {
  const lab = new RegionLab(t), kept = await made(lab), sound = (await found(lab, kept)).extents
  await lab.close()
  const good = lab.bytes(summaryAt(0), 4096)
  for (const at of [0, 5, 9, 2000, ...[0, 4, 8, 12, 13, 16, 64, 72, 80, 88, 92, 96, 100, 104, 127].map((field) => 4096 - 128 + field)]) {
    const bad = Buffer.from(good)
    bad[at]! ^= 0x10
    lab.overwrite(summaryAt(0), bad)
    const { log, extents } = await found(lab, kept)
    t.equal(log.storedLength, kept, `byte ${at}`)
    t.same(extents, sound)
    await lab.close()
  }
})

t.test('one that goes bad after the open is read around', async (t) => {
  const lab = new RegionLab(t), kept = await made(lab), sound = (await found(lab, kept)).extents
  const log = (await lab.open()).logs(VOLUME)[0]!
  lab.overwrite(summaryAt(0), Buffer.alloc(4096))
  t.same(extentsOf(await log.buildLayer(kept, won(0))), sound)
})

t.test('the summary of an earlier use says nothing', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(2), old = newLog(region)
  await putMany(old, 0, 5, { sectors: QUARTER })
  await flush(region)
  region.deleteLog(old)
  await lab.close()
  t.equal(lab.bytes(summaryAt(0) + 4096 - 128, 4).toString(), 'HDFY')
  const log = newLog(await lab.open(), 2, 5)
  await putMany(log, 5, 2)
  t.match((await lab.open()).logs(VOLUME), [{ epoch: 2, storedLength: 2 }])
})

t.test('a log does not go on in a segment that has a summary', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(), log = newLog(region)
  await putMany(log, 0, 5, { sectors: QUARTER })
  await flush(region)
  await lab.close()
  // As if the power had kept the summary and lost the next segment's header.
  lab.overwrite(segmentOffset(1, SEGMENT_BYTES), Buffer.alloc(4096))
  const again = (await lab.open()).logs(VOLUME)[0]!
  t.equal(again.storedLength, 4)
  await put(again, 5)
  t.match((await lab.open()).logs(VOLUME), [{ storedLength: 5, bytes: 2 * SEGMENT_BYTES }])
})

t.test('a segment of nothing but pieces goes without one', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(4), log = newLog(region)
  let last = 0
  while (log.bytes < 2 * SEGMENT_BYTES) await putEntries(log, ++last, Array.from({ length: 165 }, (_, i) => ({ lba: i * 2, sectors: 1, kind: ENTRY.zero })))
  await flush(region)
  t.equal((await found(lab, last)).log.storedLength, last)
  t.ok(last > SEGMENT_BYTES / limits.summaryShare / (165 * 12 + 8), 'more than its summary could say')
  t.not(lab.bytes(segmentOffset(1, SEGMENT_BYTES) - 128, 4).toString(), 'HDFY')
})
