/** H13: a record lies in one segment, whatever its size. */
import t from 'tap'
import { PAYLOAD_SECTORS_MAX as MAX } from '../../lib/core/record.js'
import { won } from '../../lib/core/units.js'
import { SEGMENT_HEADER_BYTES, segmentOffset } from '../../lib/region/layout.js'
import { RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, type Stored } from './region-lab.js'

const segmentOf = (offset: number): number => Math.floor((offset - segmentOffset(0, SEGMENT_BYTES)) / SEGMENT_BYTES)
const lastByteOf = (record: Stored): number => record.offset + record.lengthBytes - 1
/** Sectors that make a record of exactly so many bytes. */
const sectorsFor = (recordBytes: number): number => (recordBytes - 4096) / 512

t.test('records of all sizes lie in one segment each, and are found again', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open(12)), stored: Stored[] = []
  for (const sectors of [MAX, 1, MAX - 1, 8, 1500, 1031, 1, 513, 2000, MAX, MAX, 7]) {
    stored.push(await put(log, stored.length + 1, { sectors }))
  }
  for (const record of stored) {
    t.equal(segmentOf(record.offset), segmentOf(lastByteOf(record)), `record ${record.won} of ${record.lengthBytes} bytes`)
    t.ok(record.offset - segmentOffset(segmentOf(record.offset), SEGMENT_BYTES) >= SEGMENT_HEADER_BYTES, 'behind the header')
  }
  t.ok(new Set(stored.map((record) => segmentOf(record.offset))).size > 4)
  const again = (await lab.open()).logs(VOLUME)[0]!
  t.equal(again.storedLength, stored.length)
  t.ok((await again.buildLayer(stored.length, won(0))).dirtySectors >= MAX)
})

/** What a segment of few records keeps free for its summary. */
const SUMMARY_BYTES = 4096

t.test('a record that fills a segment up to its summary is put there, one block more is not', async (t) => {
  for (const [more, segments] of [[0, 1], [4096, 2]] as const) {
    const lab = new RegionLab(t)
    const log = newLog(await lab.open())
    const first = await put(log, 1, { sectors: MAX })
    const left = SEGMENT_BYTES - SEGMENT_HEADER_BYTES - first.lengthBytes - SUMMARY_BYTES
    const second = await put(log, 2, { sectors: sectorsFor(left + more) })
    t.equal(log.bytes, segments * SEGMENT_BYTES)
    t.equal(lastByteOf(second) + 1 + SUMMARY_BYTES === segmentOffset(segmentOf(first.offset) + 1, SEGMENT_BYTES), more === 0)
    t.equal(segmentOf(second.offset) - segmentOf(first.offset), segments - 1)
    t.equal((await lab.open()).logs(VOLUME)[0]?.storedLength, 2)
  }
})

t.test('what earlier use left behind the last record is not read as records', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(2), old = newLog(region, 1)
  for (let i = 1; i <= 20; i++) await put(old, i, { flushed: i - 1 })
  await region.saveVolumeState(VOLUME, { base: won(20) })
  region.deleteLog(old)
  await lab.close()
  const log = newLog(await lab.open(), 2, 20)
  await put(log, 21)
  t.match((await lab.open()).logs(VOLUME), [{ epoch: 2, storedLength: 1 }])
})
