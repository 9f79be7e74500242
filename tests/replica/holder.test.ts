/** Sealed logs: read and mapped by other hosts, trimmed, and let go when the claim names them no more. */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import t from 'tap'
import { IndexLayer } from '../../lib/core/index-layer.js'
import { RUN } from '../../lib/core/layer.js'
import { epoch, won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { RecordMaker, ReplicaLab, VOLUME, type Write } from './lab.js'

/** An epoch with these records, one for each list of writes. */
async function fill(lab: ReplicaLab, number: number, start: number, ...records: readonly (readonly Write[])[]): Promise<void> {
  const maker = new RecordMaker(lab.claim(number, { start: won(start) }))
  lab.push({ type: 'open', claim: maker.claim })
  for (const writes of records) lab.append(maker.next(...writes), number)
  await lab.acked(start + records.length)
}

const inherit = (lab: ReplicaLab, ...logs: readonly (readonly [number, number, number])[]) =>
  logs.map(([number, start, kept]) => ({ epoch: epoch(number), start: won(start), kept, holders: [lab.holder.self] }))

t.test('a sealed log is read as its first kept records left it', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 1, 0,
    [{ lba: 10, sectors: 8, fill: 1 }],
    [{ lba: 13, sectors: 3, fill: 2 }, { lba: 100, sectors: 1, fill: 3 }],
    [{ lba: 11, sectors: 1, zero: true }],
    [{ lba: 10, sectors: 8, fill: 4 }])
  t.match((await lab.read(epoch(1), 3, 0, 8)).message, { type: 'problem', reason: /epoch 1 is not sealed here/ })
  await lab.holder.seal(VOLUME, epoch(1))
  const { message, raw } = await lab.read(epoch(1), 3, 8, 12)
  t.same(message, { type: 'data', runs: [0, 2, 1, 1, 2, 1, 1, 1, 1, 3, 1, 2, 0, 2] }, 'absent, data, zero; the fourth record does not count')
  const bytes = Buffer.concat([1, 1, 2, 2, 2, 1, 1].map((fill) => Buffer.alloc(512, fill)))
  t.ok(raw.equals(bytes), 'the bytes of all data runs, in order')
  t.ok((await lab.read(epoch(1), 4, 10, 8)).raw.equals(Buffer.alloc(8 * 512, 4)))
  t.same((await lab.read(epoch(1), 3, 100, 1)).raw, Buffer.alloc(512, 3))
  const extents = [10, 1, 1, 11, 1, 2, 12, 1, 1, 13, 3, 1, 16, 2, 1, 100, 1, 1]
  t.same(await lab.map(epoch(1), 3), { type: 'extents', extents, more: false, nextLba: 0 })
  t.match(await lab.map(epoch(1), 3, 50), { extents: [100, 1, 1] })
  await lab.restart()
  t.ok((await lab.read(epoch(1), 3, 8, 12)).raw.equals(bytes), 'and after a restart, from the region alone')
})

t.test('what is not here, too short or out of range is a problem, never data', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 1, 0, [{ lba: 0, sectors: 8, fill: 1 }])
  await lab.holder.seal(VOLUME, epoch(1))
  t.match((await lab.read(epoch(1), 2, 0, 8)).message, { type: 'problem', reason: /only 1 of 2 records/ })
  t.match(await lab.map(epoch(1), 2), { type: 'problem', reason: /only 1 of 2 records/ })
  t.match((await lab.read(epoch(2), 1, 0, 8)).message, { type: 'problem', reason: /no log of epoch 2 here/ })
  for (const sectors of [0, limits.readBytesMax / 512 + 1]) {
    t.match((await lab.read(epoch(1), 1, 0, sectors)).message, { type: 'problem', reason: /out of range/ })
  }
})

t.test('rot is never given to another host, be it in the middle of a large write', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 1, 0, [{ lba: 0, sectors: 64, fill: 5 }, { lba: 800, sectors: 8, fill: 6 }])
  await lab.holder.seal(VOLUME, epoch(1))
  const path = lab.work.file('region'), bytes = readFileSync(path), large = bytes.indexOf(Buffer.alloc(64 * 512, 5)), small = bytes.indexOf(Buffer.alloc(4096, 6))
  const disk = openSync(path, 'r+')
  for (const at of [large + 5 * 4096 + 7, small + 7]) writeSync(disk, Buffer.from([0]), 0, 1, at)
  fsyncSync(disk)
  closeSync(disk)
  t.match((await lab.read(epoch(1), 1, 0, 64)).message, { type: 'problem', reason: new RegExp(`byte ${large + 5 * 4096} of region .* is not what was written`) })
  t.match((await lab.read(epoch(1), 1, 43, 1)).message, { type: 'problem' }, 'a part of the block')
  t.ok((await lab.read(epoch(1), 1, 0, 40)).raw.equals(Buffer.alloc(40 * 512, 5)), 'the blocks before it are good')
  t.match((await lab.read(epoch(1), 1, 800, 8)).message, { type: 'problem' })
})

t.test('a read below the base says so only when the base covers the log', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 1, 0, [{ lba: 0, sectors: 8, fill: 1 }], [{ lba: 8, sectors: 8, fill: 2 }], [{ lba: 16, sectors: 8, fill: 3 }])
  await lab.holder.seal(VOLUME, epoch(1))
  await lab.holder.trim(VOLUME, won(2))
  const { message, raw } = await lab.read(epoch(1), 3, 0, 24)
  t.same(message, { type: 'data', runs: [0, 16, 1, 8], base: 2 }, 'records at or below the base are on the backing')
  t.ok(raw.equals(Buffer.alloc(8 * 512, 3)))
  t.match((await lab.read(epoch(1), 2, 0, 8)).message, { type: 'readTrimmed', base: 2 }, 'for who counts two records, the base covers it')
  t.match(await lab.map(epoch(1), 2), { type: 'readTrimmed', base: 2 })
  await lab.holder.trim(VOLUME, won(3))
  t.equal(lab.holder.log(VOLUME, epoch(1)), undefined, 'a sealed log that ends at the base is let go')
  t.match((await lab.read(epoch(1), 3, 0, 8)).message, { type: 'readTrimmed', base: 3 })
  await lab.restart()
  t.match((await lab.read(epoch(1), 3, 0, 8)).message, { type: 'readTrimmed', base: 3 }, 'the base outlives the log')
  t.equal(lab.region.freeSegments, lab.region.segmentCount)
})

t.test('a trim of a sealed epoch is not followed: only the present owner trims', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 2, 0, [{ lba: 0, sectors: 8, fill: 1 }])
  const trim = (number: number, base: number): void => lab.push({ type: 'trim', volume: VOLUME, epoch: epoch(number), base: won(base) })
  await lab.holder.seal(VOLUME, epoch(2))
  const before = lab.owner.heard.length
  trim(2, 1)
  trim(1, 1)
  await sleep(50)
  t.same(lab.owner.heard.slice(before), [], 'no answer')
  t.equal(lab.region.volumeState(VOLUME).base, 0)
  trim(3, 1)
  await until('the answer', 3000, () => lab.owner.heard.length > before)
  t.match(lab.owner.heard.at(-1), { type: 'trimmed', epoch: 3, base: 1 })
  t.equal(lab.region.volumeState(VOLUME).base, 1)
  trim(3, 1)
  await until('the second answer', 3000, () => lab.owner.heard.length > before + 1)
  t.match(lab.owner.heard.at(-1), { type: 'trimmed', base: 1 }, 'a trim that comes again is answered again')
})

t.test('a claim that names a log here keeps it, one that does not lets it go', async (t) => {
  const lab = await ReplicaLab.create(t, 6)
  await fill(lab, 1, 0, [{ lba: 0, sectors: 8, fill: 1 }])
  await lab.holder.seal(VOLUME, epoch(1))
  const both = { start: won(1), inherited: inherit(lab, [1, 0, 1]) }
  const maker = new RecordMaker(lab.claim(2, both))
  lab.push({ type: 'open', claim: maker.claim })
  lab.append(maker.next({ lba: 8, sectors: 8, fill: 2 }), 2)
  await lab.acked(2)
  const epochs = (): number[] => lab.region.logs(VOLUME).map((log) => log.epoch)
  t.same(epochs(), [1, 2], 'the open named it')
  await lab.holder.seal(VOLUME, epoch(2))
  const changed = (number: number, inherited: ReturnType<typeof inherit>): void =>
    lab.push({ type: 'claimChanged', claim: lab.claim(number, { start: won(2), inherited, set: [{ host: 'a', incarnation: 'a'.repeat(32) }] }) })
  changed(3, inherit(lab, [1, 0, 1], [2, 1, 1]))
  t.same(epochs(), [1, 2])
  changed(2, [])
  t.same(epochs(), [1, 2], 'at or below what is sealed here a claim is history, and the next may name more')
  changed(3, inherit(lab, [2, 1, 1]))
  t.same(epochs(), [2])
  const elsewhere = inherit(lab, [2, 1, 1]).map((log) => ({ ...log, holders: [{ host: 'r', incarnation: '9'.repeat(32) }] }))
  changed(3, elsewhere)
  t.same(epochs(), [], 'named with another incarnation is not named (R5)')
  await lab.restart()
  t.same(epochs(), [], 'it stays away after a restart')
  t.equal(lab.region.freeSegments, lab.region.segmentCount)
})

t.test('a claim change closes an older open epoch: its appends are refused from then on', async (t) => {
  const lab = await ReplicaLab.create(t)
  const maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  lab.append(maker.next({ lba: 0, sectors: 8 }), 1)
  await lab.acked(1)
  lab.push({ type: 'claimChanged', claim: lab.claim(2, { start: won(1), inherited: inherit(lab, [1, 0, 1]) }) })
  t.match(await lab.answerTo(() => lab.append(maker.next({ lba: 8, sectors: 8 }), 1)), { type: 'refused', reason: /not opened here/ })
  t.equal(lab.holder.log(VOLUME, epoch(1))!.storedLength, 1)
  t.same(lab.holder.held(new Set()), [{ volume: VOLUME, epoch: 1, records: 1, bytes: limits.segmentBytesMin }], 'and status shows what is held')
})

t.test('a log that was let go of takes no more records, though its owner goes on: it would have no beginning after a restart', async (t) => {
  const lab = await ReplicaLab.create(t), maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  lab.append(maker.next({ lba: 0, sectors: 8 }), 1)
  await lab.acked(1)
  // A volume of this host has read a later claim, and nobody has told the replica.
  lab.holder.reconcile(VOLUME, epoch(4), [])
  t.match(await lab.answerTo(() => lab.append(maker.next({ lba: 8, sectors: 8 }), 1)), { type: 'refused', reason: /let go of/ })
  await lab.restart()
  t.same(lab.region.logs(VOLUME), [])
})

t.test('a map longer than one page goes on where it stopped', async (t) => {
  const lab = await ReplicaLab.create(t, 12)
  const perRecord = limits.recordEntriesMax, extents = limits.mapExtentsMax + 10
  const records: Write[][] = []
  for (let at = 0; at < extents; at += perRecord) {
    records.push(Array.from({ length: Math.min(perRecord, extents - at) }, (_, i) => ({ lba: (at + i) * 2, sectors: 1, zero: true })))
  }
  await fill(lab, 1, 0, ...records)
  await lab.holder.seal(VOLUME, epoch(1))
  const first = await lab.map(epoch(1), records.length)
  if (first.type !== 'extents') { t.fail(`answered ${first.type}`); return }
  t.equal(first.extents.length, limits.mapExtentsMax * 3)
  t.match(first, { more: true, nextLba: limits.mapExtentsMax * 2 })
  const second = await lab.map(epoch(1), records.length, first.nextLba)
  t.match(second, { more: false, extents: [limits.mapExtentsMax * 2, 1, 2] })
  t.equal(second.type === 'extents' && second.extents.length, 30)
})

t.test('the index that an owner leaves behind answers until something of the volume is let go', async (t) => {
  const lab = await ReplicaLab.create(t)
  await fill(lab, 1, 0, [{ lba: 0, sectors: 8, fill: 1 }], [{ lba: 8, sectors: 8, fill: 2 }], [{ lba: 16, sectors: 8, fill: 3 }])
  await lab.holder.seal(VOLUME, epoch(1))
  // Not what the log says, so that it can be told from it.
  const newer = new IndexLayer(), older = new IndexLayer()
  newer.putZero(0, 8)
  older.putZero(0, 24)
  lab.holder.adopt(VOLUME, epoch(1), 3, [newer, older])
  t.match(await lab.map(epoch(1), 3), { type: 'extents', extents: [0, 24, RUN.zero] })
  t.match(await lab.map(epoch(1), 2), { type: 'extents', extents: [0, 8, RUN.data, 8, 8, RUN.data] }, 'only for what it was left')
  await lab.holder.trim(VOLUME, won(1))
  t.match(await lab.map(epoch(1), 3), { type: 'extents', extents: [8, 8, RUN.data, 16, 8, RUN.data] }, 'its segments may be gone')
})
