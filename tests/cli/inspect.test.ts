/** `holdfast inspect` on regions as power cuts, bad disks and running daemons leave them. */
import { chmodSync, copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { epoch, won } from '../../lib/core/units.js'
import { operation } from '../../lib/io/operation.js'
import { limits } from '../../lib/limits.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, putMany, type Stored } from '../region/region-lab.js'
import { holdfast, type Outcome } from './holdfast.js'

const OTHER = '99999999-2222-4333-8444-555555555555'
const noise = Buffer.alloc(512, 0xa5)

interface Json {
  readonly damaged: boolean
  readonly inUse: boolean
  readonly superblocks: readonly { state: string; generation: number | null; counts: boolean }[]
  readonly segments: readonly { use: string }[]
  readonly volumes: readonly unknown[]
  readonly logs: readonly { volume: string; epoch: number; state: string; firstWon: number; lastWon: number; records: number; recordsBehindEnd: number; list?: { won: number; entryCount: number; powerSafeWon: number; offsetBytes: number }[] }[]
  readonly findings: readonly { damage: boolean; text: string; segment: number | null; offsetBytes: number | null; won: number | null }[]
}

async function inspected(lab: RegionLab, ...more: string[]): Promise<{ outcome: Outcome; json: Json }> {
  const outcome = await holdfast('inspect', lab.path, '--json', ...more)
  return { outcome, json: JSON.parse(outcome.stdout) as Json }
}

/** Two volumes: nine records in three segments, of which one vouches for eight, and one record that is deleted. */
async function made(t: Test): Promise<{ lab: RegionLab; stored: Stored[] }> {
  const lab = new RegionLab(t), region = await lab.open(), log = newLog(region)
  const stored = await putMany(log, 0, 8, { sectors: QUARTER })
  stored.push(await put(log, 9, { sectors: QUARTER, flushed: 8 }))
  const other = newLog(region, 2, 0, OTHER)
  await put(other, 1)
  region.deleteLog(other)
  await region.saveVolumeState(VOLUME, { sealed: epoch(1), base: won(5) })
  await lab.close()
  return { lab, stored }
}

t.test('a sound region: what is in it, and that nothing is written', async (t) => {
  const { lab, stored } = await made(t)
  chmodSync(lab.path, 0o400)
  const before = lab.sha256(), { outcome, json } = await inspected(lab, '--verify', '--log', `${VOLUME.slice(0, 8)}/1`)
  t.same([outcome.code, outcome.stderr, json.damaged, json.inUse], [EXIT.done, '', false, false])
  t.same(json.superblocks.map(({ counts }) => counts).sort(), [false, true])
  t.same(json.volumes, [{ volume: VOLUME, sealed: 1, base: 5 }])
  t.same(json.segments.map(({ use }) => use), ['trimmed', 'live', 'live', 'deleted', 'unused', 'unused'], 'what lies below the base is free')
  const live = json.logs.find(({ state }) => state === 'live')!
  t.match(live, { volume: VOLUME, epoch: 1, firstWon: 5, lastWon: 9, records: 5 })
  t.same(live.list!.map((r) => [r.won, r.entryCount, r.powerSafeWon, r.offsetBytes]),
    stored.slice(4).map((r) => [r.won, 1, r.won === 9 ? 8 : 0, r.offset]))
  t.match(json.logs.find(({ state }) => state === 'deleted'), { volume: OTHER, epoch: 2 })
  const { code, stdout } = await holdfast('inspect', lab.path)
  t.equal(code, EXIT.done)
  for (const text of ['host        alpha', 'map         -AA-..\n', 'A  11111111 epoch 1: records 5 to 9,', 'deleted: 1 segment of 99999999 epoch 2', 'no damage found in the headers']) t.match(stdout, text)
  t.equal(lab.sha256(), before)
})

t.test('damage is told from a torn tail, and named with its place', async (t) => {
  for (const [index, kind] of [[5, 'damage'], [8, 'torn']] as const) {
    for (const at of [0, HEADER_BYTES + 512]) {
      const { lab, stored } = await made(t), { offset, won: bad } = stored[index]!, segment = Math.floor((offset - segmentOffset(0, 0)) / SEGMENT_BYTES)
      lab.overwrite(offset + at, noise)
      const { outcome, json } = await inspected(lab, '--verify')
      const opened = await lab.open().then(() => EXIT.done, (error: { exitCode: number }) => error.exitCode)
      await lab.close()
      t.equal(outcome.code, kind === 'damage' ? EXIT.damaged : EXIT.done)
      t.equal(outcome.code, opened, 'the daemon says the same')
      if (kind === 'torn' && at === 0) { t.same(json.findings, [], 'of a header that is gone nothing tells that there was one'); continue }
      t.match(json.findings, [{ damage: kind === 'damage', won: bad, segment, offsetBytes: offset }], `${kind} at ${at}`)
      t.match(json.findings[0]!.text, kind === 'damage' ? 'a later record proves that it was stored up to 8' : 'nothing says that it was ever power-safe')
      if (kind === 'torn') continue
      t.match(json.logs[0], { lastWon: 5, recordsBehindEnd: 3 }, 'the good ones behind it are counted')
      t.match(outcome.stderr, `holdfast: ${lab.path} is damaged in 1 place; keep the file as it is`)
      t.match((await holdfast('inspect', lab.path, '--verify')).stdout, new RegExp(`map {9}-!A-..\n[^]*DAMAGE\n {2}record 6 is damaged: .*\\(volume ${VOLUME}, epoch 1, segment ${segment}, byte ${offset}\\)\n`))
    }
  }
})

t.test('damaged data is found with --verify only', async (t) => {
  const { lab, stored } = await made(t)
  lab.overwrite(stored[6]!.offset + HEADER_BYTES, noise)
  t.match(await holdfast('inspect', lab.path), { code: EXIT.done, stdout: /no damage found in the headers; --verify checks the data too\n$/ })
  t.match(await holdfast('inspect', lab.path, '--verify'), { code: EXIT.damaged })
})

t.test('data that goes bad in a segment with a summary is damage, although no record vouches for it', async (t) => {
  const lab = new RegionLab(t), region = await lab.open(), stored = await putMany(newLog(region), 0, 5, { sectors: QUARTER })
  await operation((target) => region.flush(target, 0))
  await lab.close()
  lab.overwrite(stored[2]!.offset + HEADER_BYTES, noise)
  const { outcome, json } = await inspected(lab, '--verify')
  t.equal(outcome.code, EXIT.damaged)
  t.match(json.findings, [{ damage: true, won: 3, segment: 0, offsetBytes: stored[2]!.offset, text: /was stored up to 4$/ }])
  t.equal((await lab.open()).logs(VOLUME)[0]!.storedLength, 5, 'the daemon, which reads summaries, does not see it')
})

t.test('segment headers: one that is needed, and one that is not', async (t) => {
  for (const [segment, damage] of [[0, false], [1, true], [2, false], [3, false]] as const) {
    const { lab } = await made(t)
    lab.overwrite(segmentOffset(segment, SEGMENT_BYTES), noise)
    const { outcome, json } = await inspected(lab), opened = await lab.open().then(() => EXIT.done, (error: { exitCode: number }) => error.exitCode)
    await lab.close()
    t.equal(outcome.code, damage ? EXIT.damaged : EXIT.done, `segment ${segment}`)
    t.equal(outcome.code, opened, 'the daemon says the same')
    t.equal(json.segments[segment]!.use, 'untold')
    t.ok(json.findings.some((each) => each.segment === segment), 'it is named')
    t.equal(json.findings.some((each) => each.damage), damage)
  }
})

t.test('superblocks: one that is damaged is a remark, two are the end', async (t) => {
  const { lab } = await made(t)
  lab.overwrite(limits.superblockBytes + 24, noise)
  const { outcome, json } = await inspected(lab)
  t.equal(outcome.code, EXIT.done)
  t.match(json.findings, [{ damage: false, offsetBytes: limits.superblockBytes, text: /^superblock slot 1 is damaged;/ }])
  t.match(json.superblocks[1], { state: 'damaged', counts: false })
  lab.overwrite(24, noise)
  t.match(await holdfast('inspect', lab.path), { code: EXIT.damaged, stdout: '', stderr: /both superblocks are damaged/ })
})

t.test('a file that became shorter', async (t) => {
  const { lab } = await made(t)
  truncateSync(lab.path, segmentOffset(2, SEGMENT_BYTES))
  const { outcome, json } = await inspected(lab)
  t.equal(outcome.code, EXIT.damaged)
  t.ok(json.findings.some(({ text }) => text.startsWith(`the file has ${segmentOffset(2, SEGMENT_BYTES)} bytes but its superblock says`)))
  t.match(json.logs.find(({ state }) => state === 'live'), { firstWon: 5, lastWon: 8 }, 'and what is left of it')
})

t.test('a region in use is shown, and proves nothing', async (t) => {
  const { lab, stored } = await made(t)
  await lab.open()
  const sound = await inspected(lab)
  t.same([sound.outcome.code, sound.json.inUse], [EXIT.done, true])
  t.match((await holdfast('inspect', lab.path)).stdout, 'IN USE      a daemon has this region open')
  lab.overwrite(stored[5]!.offset, noise)
  const { outcome } = await inspected(lab)
  t.equal(outcome.code, EXIT.unsafe)
  t.match(outcome.stderr, 'may be a write under way; stop the daemon and inspect again')
})

t.test('what is no region', async (t) => {
  const lab = new RegionLab(t)
  t.match(await holdfast('inspect', lab.path), { code: EXIT.usage, stderr: `holdfast: ${lab.path} cannot be opened: there is no such file\n` })
  t.match(await holdfast('inspect', lab.workspace.path), { code: EXIT.usage, stderr: /neither a regular file nor a block device/ })
  writeFileSync(lab.path, Buffer.alloc(1024 * 1024, 1))
  t.match(await holdfast('inspect', lab.path), { code: EXIT.config, stderr: /not a Holdfast region/ })
  writeFileSync(lab.path, Buffer.alloc(1024 * 1024))
  t.match(await holdfast('inspect', lab.path), { code: EXIT.done, stdout: /a region that was never made/ })
  const { lab: good } = await made(t)
  t.match(await holdfast('inspect', good.path, '--log', 'abc'), { code: EXIT.usage, stderr: `holdfast: no log abc in ${good.path}; there are: 11111111/1\n` })
})

t.test('progress goes to stderr', async (t) => {
  const { lab } = await made(t), copy = `${lab.path}.copy`
  copyFileSync(lab.path, copy)
  const { stderr } = await holdfast('inspect', copy, '--verify', '-p')
  t.match(stderr, /^checking segments \(50\/100%\)\nchecking segments \(100\/100%\)\n$/)
  t.same(readFileSync(copy), readFileSync(lab.path))
})
