/** H4: a log that ends in a torn record, and one of which a confirmed record is damaged, must never be taken for each other. */
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { HEADER_BYTES, RECORD_VERSION } from '../../lib/core/record.js'
import { won } from '../../lib/core/units.js'
import { crc } from '../../lib/io/crc.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, putMany, type Stored } from './region-lab.js'

const OTHER = '99999999-2222-4333-8444-555555555555'
const noise = Buffer.alloc(512, 0xa5)
const PLACES = [['its header', 0], ['its entries', 128], ['its first sector', HEADER_BYTES], ['its last sector', HEADER_BYTES + 7 * 512]] as const

async function lengthAfter(lab: RegionLab): Promise<number> { return (await lab.open()).logs(VOLUME)[0]?.storedLength ?? 0 }
const damaged = (lab: RegionLab, record: Stored, proof: number, segment = 0) => ({
  name: 'Failure', exitCode: EXIT.damaged,
  message: `region ${lab.path}: record ${record.won} of volume ${VOLUME}, epoch 1 (segment ${segment}, byte ${record.offset}) is damaged, ` +
    `although a later record proves that it was stored up to ${proof}; nothing was changed: keep the file, ` +
    'and take the volume over on another holder',
})

for (const [name, at] of PLACES) {
  t.test(`a last record torn in ${name} is the end of its log`, async (t) => {
    const lab = new RegionLab(t)
    const stored = await putMany(newLog(await lab.open()), 0, 5, { flushed: 0 })
    await lab.close()
    lab.overwrite(stored[4]!.offset + at, noise)
    t.equal(await lengthAfter(lab), 4)
  })

  t.test(`a record damaged in ${name} that a later one vouches for stops the open`, async (t) => {
    const lab = new RegionLab(t)
    const log = newLog(await lab.open())
    const stored = await putMany(log, 0, 4)
    await put(log, 5, { flushed: 4 })
    await lab.close()
    lab.overwrite(stored[2]!.offset + at, noise)
    const before = lab.sha256()
    await t.rejects(lab.open(), damaged(lab, stored[2]!, 4))
    t.equal(lab.sha256(), before, 'nothing was changed')
    lab.overwrite(stored[2]!.offset + HEADER_BYTES, stored[2]!.payload)
    if (at >= HEADER_BYTES) t.equal(await lengthAfter(lab), 5, 'and when it is repaired, everything is there')
  })
}

t.test('a damaged record that nothing vouches for ends the log, with what came after it', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open())
  const stored = await putMany(log, 0, 2)
  stored.push(await put(log, 3, { flushed: 2 }))
  await putMany(log, 3, 7, { flushed: 2 })
  await lab.close()
  lab.overwrite(stored[2]!.offset, noise)
  t.equal(await lengthAfter(lab), 2, 'the ones behind it vouch for two only')
  const continued = (await lab.open()).logs(VOLUME)[0]!
  await put(continued, 3)
  t.equal(await lengthAfter(lab), 3, 'a log goes on there, and what lay behind is not taken for its own')
})

t.test('a witness in a later segment counts too', async (t) => {
  const lab = new RegionLab(t)
  const log = newLog(await lab.open())
  const stored = await putMany(log, 0, 8, { sectors: QUARTER })
  await put(log, 9, { flushed: 3 })
  await lab.close()
  lab.overwrite(stored[2]!.offset, noise)
  await t.rejects(lab.open(), damaged(lab, stored[2]!, 3))
})

t.test('segments behind a torn record do not come back as part of the log', async (t) => {
  const lab = new RegionLab(t)
  const stored = await putMany(newLog(await lab.open()), 0, 10, { sectors: QUARTER })
  await lab.close()
  lab.overwrite(stored[2]!.offset, noise)
  const region = await lab.open()
  t.match(region.logs(VOLUME), [{ storedLength: 2, bytes: SEGMENT_BYTES }])
  t.equal(region.freeSegments, 5)
  t.match((await lab.open()).logs(VOLUME), [{ storedLength: 2 }])
})

t.test('what a log stores behind a torn record is found, and not what lay there before', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(), before = newLog(region, 1, 0, OTHER)
  await put(before, 1)
  const log = newLog(region), stored = await putMany(log, 0, 10, { sectors: QUARTER })
  await region.saveVolumeState(OTHER, { base: won(1) })
  await lab.close()
  lab.overwrite(stored[2]!.offset, noise)
  // The first free segment is now the other volume's, so this log's next one lies elsewhere than its second did.
  const continued = (await lab.open()).logs(VOLUME)[0]!
  const fresh = await putMany(continued, 2, 4, { sectors: QUARTER })
  t.ok(fresh[3]!.offset < stored[0]!.offset)
  t.match((await lab.open()).logs(VOLUME), [{ storedLength: 6, lastHeaderCrc: continued.lastHeaderCrc, bytes: 2 * SEGMENT_BYTES }])
})

t.test('damage below the base does not take along what lies above it', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  const log = newLog(region)
  const stored = await putMany(log, 0, 7, { sectors: QUARTER })
  await put(log, 8, { sectors: QUARTER, flushed: 7 })
  await put(log, 9, { flushed: 8 })
  await region.saveVolumeState(VOLUME, { base: won(4) })
  await lab.close()
  lab.overwrite(stored[1]!.offset, noise)
  t.match((await lab.open()).logs(VOLUME), [{ storedLength: 9 }], 'in a segment of which nothing counts')
  await (await lab.open()).saveVolumeState(VOLUME, { base: won(6) })
  await lab.close()
  lab.overwrite(stored[4]!.offset, noise)
  await t.rejects(lab.open(), damaged(lab, stored[4]!, 8, 1), 'in one that is needed')
})

t.test('a damaged header of a segment that is needed stops the open', async (t) => {
  for (const segment of [0, 1, 2]) {
    const lab = new RegionLab(t)
    const log = newLog(await lab.open())
    await putMany(log, 0, 11, { sectors: QUARTER })
    await put(log, 12, { sectors: QUARTER, flushed: 11 })
    await lab.close()
    lab.overwrite(segmentOffset(segment, SEGMENT_BYTES), noise)
    const before = lab.sha256()
    await t.rejects(lab.open(), { name: 'Failure', exitCode: EXIT.damaged, message: /nothing was changed/ }, `segment ${segment}`)
    t.equal(lab.sha256(), before)
  }
})

t.test('a damaged header of a segment that nobody needs is no reason to stop', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(), log = newLog(region)
  await putMany(log, 0, 4, { sectors: QUARTER })
  await put(log, 5, { sectors: QUARTER, flushed: 4 })
  await region.saveVolumeState(VOLUME, { base: won(4) })
  await lab.close()
  lab.overwrite(segmentOffset(0, SEGMENT_BYTES), noise)
  lab.overwrite(segmentOffset(4, SEGMENT_BYTES), noise)
  t.equal(await lengthAfter(lab), 5)
})

t.test('a record of a newer release is neither torn nor damaged', async (t) => {
  const lab = new RegionLab(t)
  const [record] = await putMany(newLog(await lab.open()), 0, 1)
  await lab.close()
  const header = lab.bytes(record!.offset, HEADER_BYTES)
  header.writeUInt32LE(RECORD_VERSION + 1, 4)
  header.writeUInt32LE(0, 8)
  header.writeUInt32LE(crc(header, 0), 8)
  lab.overwrite(record!.offset, header)
  const before = lab.sha256()
  await t.rejects(lab.open(), { name: 'Failure', exitCode: EXIT.config, message: `region ${lab.path}: segment 0, byte ${record!.offset}: ` +
    `record format ${RECORD_VERSION + 1} is newer than this program (${RECORD_VERSION}); run the newer release (nothing was changed)` })
  t.equal(lab.sha256(), before)
})

t.test('data of another log in its place is not a record', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open()
  const one = newLog(region, 1), two = newLog(region, 2)
  await putMany(one, 0, 3)
  const strange = await putMany(two, 0, 3)
  await lab.close()
  const record = lab.bytes(strange[2]!.offset, strange[2]!.lengthBytes)
  lab.overwrite(segmentOffset(0, SEGMENT_BYTES) + 4096 + 2 * 8192, record)
  t.same((await lab.open()).logs(VOLUME).map((log) => [log.epoch, log.storedLength]), [[1, 2], [2, 3]])
})
