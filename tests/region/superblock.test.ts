import { ftruncateSync, openSync, closeSync, truncateSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { epoch, won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { crc } from '../../lib/io/crc.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, putMany } from './region-lab.js'

const SLOT = limits.superblockBytes
const damage = Buffer.from('damage')

/** A closed region with one record, base 1, whose newer slot is `newer`; the other one is one save behind. */
async function made(t: Test): Promise<{ lab: RegionLab; newer: 0 | 1 }> {
  const lab = new RegionLab(t)
  const region = await lab.open(3)
  await put(newLog(region), 1)
  await region.saveVolumeState(VOLUME, { base: won(0), sealed: epoch(1) })
  await put(region.logs(VOLUME)[0]!, 2)
  await region.saveVolumeState(VOLUME, { base: won(1) })
  await lab.close()
  return { lab, newer: newerSlot(lab) }
}

function newerSlot(lab: RegionLab): 0 | 1 {
  const [first, second] = [0, 1].map((slot) => lab.bytes(slot * SLOT + 16, 8).readBigUInt64LE())
  return second! > first! ? 1 : 0
}

async function refused(t: Test, lab: RegionLab, exitCode: number, message: string | RegExp): Promise<void> {
  const before = lab.sha256()
  await t.rejects(lab.open(3), { name: 'Failure', exitCode, message })
  t.equal(lab.sha256(), before, 'nothing was written')
}

t.test('the newer of two good slots counts', async (t) => {
  const { lab } = await made(t)
  t.same((await lab.open()).volumeState(VOLUME), { sealed: 1, base: 1 })
})

for (const [name, at] of [['its first block', 4], ['the volumes in it', 4096 + 3], ['the unused end of its host name', 128 + 60]] as const) {
  t.test(`a slot damaged in ${name} is not used, and the next save goes there`, async (t) => {
    const { lab, newer } = await made(t)
    lab.overwrite(newer * SLOT + at, damage)
    const region = await lab.open()
    t.same(region.volumeState(VOLUME), { sealed: 1, base: 0 }, 'the state before it')
    t.equal(region.logs(VOLUME)[0]?.storedLength, 2)
    await region.saveVolumeState(VOLUME, { base: won(2) })
    await lab.close()
    lab.overwrite((1 - newer) * SLOT, damage)
    t.equal((await lab.open()).volumeState(VOLUME).base, 2, 'so the other one is not needed any more')
  })
}

t.test('a slot torn between its blocks is not used', async (t) => {
  const { lab, newer } = await made(t)
  const old = lab.bytes((1 - newer) * SLOT + 4096, 4096)
  t.notSame(old, lab.bytes(newer * SLOT + 4096, 4096))
  lab.overwrite(newer * SLOT + 4096, old)
  t.equal((await lab.open()).volumeState(VOLUME).base, 0)
})

t.test('a seal is in both slots: either of them may go bad', async (t) => {
  for (const slot of [0, 1]) {
    const lab = new RegionLab(t)
    await (await lab.open(3)).saveVolumeState(VOLUME, { sealed: epoch(7) })
    await lab.close()
    lab.overwrite(slot * SLOT, damage)
    t.equal((await lab.open()).volumeState(VOLUME).sealed, 7, `without slot ${slot}`)
  }
})

t.test('a base that went bad after its segments were used again stops the open: nothing tells that they were not needed', async (t) => {
  const lab = new RegionLab(t)
  const region = await lab.open(3), log = newLog(region)
  await putMany(log, 0, 8, { sectors: QUARTER })
  await region.saveVolumeState(VOLUME, { base: won(4) })
  log.trim(won(4))
  await putMany(newLog(region, 1, 0, '99999999-2222-4333-8444-555555555555'), 0, 1)
  await putMany(log, 8, 4, { sectors: QUARTER })
  await lab.close()
  t.equal((await lab.open()).logs(VOLUME)[0]?.storedLength, 12)
  await lab.close()
  lab.overwrite(newerSlot(lab) * SLOT, damage)
  await refused(t, lab, EXIT.damaged, `region ${lab.path}: records 1 to 4 of volume ${VOLUME}, epoch 1, are not found: the header of ` +
    'their segment or the newest superblock is damaged; nothing was changed: keep the file, and take the volume over on another holder')
})

t.test('with both slots damaged it stops and changes nothing', async (t) => {
  const { lab } = await made(t)
  lab.overwrite(24, damage)
  lab.overwrite(SLOT + 24, damage)
  await refused(t, lab, EXIT.damaged,
    `region ${lab.path}: both superblocks are damaged; keep the file and take its volumes over on the other holders (nothing was changed)`)
})

t.test('an emptied and a damaged slot are damage, not a new region', async (t) => {
  const { lab } = await made(t)
  lab.overwrite(0, Buffer.alloc(SLOT))
  lab.overwrite(SLOT + 24, damage)
  await refused(t, lab, EXIT.damaged, /both superblocks are damaged/)
})

t.test('what is not a region is left alone, wherever its first byte lies', async (t) => {
  for (const at of [0, 4096, 65536, 2 * SLOT - 1]) {
    const lab = new RegionLab(t)
    const file = Buffer.alloc(segmentOffset(3, SEGMENT_BYTES))
    file[at] = 1
    writeFileSync(lab.path, file)
    await refused(t, lab, EXIT.config,
      `${lab.path} holds something that is not a Holdfast region; choose another path, ` +
      'or wipe it yourself if it is not wanted (nothing was changed)')
  }
})

t.test('a file of zeros becomes a region', async (t) => {
  const lab = new RegionLab(t)
  writeFileSync(lab.path, Buffer.alloc(segmentOffset(4, SEGMENT_BYTES)))
  t.equal((await lab.open(9)).segmentCount, 4)
})

t.test('a region of a newer release is refused, also when only one slot is', async (t) => {
  for (const slots of [[0, 1], [0], [1]]) {
    const { lab } = await made(t)
    for (const slot of slots) {
      const block = lab.bytes(slot * SLOT, 8192)
      block.writeUInt32LE(2, 4)
      block.writeUInt32LE(0, 8)
      block.writeUInt32LE(crc(block.subarray(0, block.readUInt32LE(12)), 0), 8)
      lab.overwrite(slot * SLOT, block)
    }
    await refused(t, lab, EXIT.config, `region ${lab.path} has a newer format than this release reads; run the newer release (nothing was changed)`)
  }
})

t.test('the region of another host is refused', async (t) => {
  const { lab } = await made(t)
  const before = lab.sha256()
  await t.rejects(lab.open(3, 'beta'), { exitCode: EXIT.config,
    message: `region ${lab.path} belongs to host "alpha", and this is "beta"; give each host a region of its own (nothing was changed)` })
  t.equal(lab.sha256(), before)
})

t.test('a file that is too small is refused, and none is made', async (t) => {
  const lab = new RegionLab(t)
  const need = segmentOffset(2, SEGMENT_BYTES)
  const message = `region ${lab.path}: ${need - 4096} bytes is smaller than its superblocks and two segments of ${SEGMENT_BYTES} bytes; ` +
    `it needs at least ${need} bytes (nothing was written)`
  writeFileSync(lab.path, Buffer.alloc(need - 4096))
  await refused(t, lab, EXIT.config, message)
  const none = new RegionLab(t)
  await t.rejects(none.open(1), { exitCode: EXIT.config, message: /it needs at least/ })
  t.throws(() => none.sha256(), { code: 'ENOENT' })
})

t.test('a region that has become shorter is refused', async (t) => {
  const { lab } = await made(t)
  const need = segmentOffset(3, SEGMENT_BYTES)
  truncateSync(lab.path, need - 4096)
  await refused(t, lab, EXIT.damaged,
    `region ${lab.path} has ${need - 4096} bytes but its superblock says ${need}; put the missing part back (nothing was changed)`)
})

t.test('a region that has become larger is used as it was', async (t) => {
  const { lab } = await made(t)
  const fd = openSync(lab.path, 'r+')
  ftruncateSync(fd, segmentOffset(5, SEGMENT_BYTES))
  closeSync(fd)
  const region = await lab.open()
  t.same([region.segmentCount, region.logs(VOLUME)[0]?.storedLength], [3, 2])
})
