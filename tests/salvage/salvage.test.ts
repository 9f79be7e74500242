/** `holdfast salvage` from the regions of two hosts that were killed, whole, damaged and incomplete. */
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { holdfast } from '../cli/holdfast.js'
import { IMAGE_BYTES, before, damage, killed, recordsIn, salvaged, type Killed } from './salvage-lab.js'

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

/** All tests begin with the same two regions, each with copies of its own. */
const shared = killed(t)
let copies = 0
async function copied(): Promise<Killed> {
  const place = await shared
  const regions = place.regions.map((region) => {
    const copy = `${region}.${++copies}`
    copyFileSync(region, copy)
    return copy
  })
  return { ...place, regions }
}

t.test('everything that was acknowledged is in the new image, from either region or both, and no input is touched', async (t) => {
  const place = await copied(), { regions, held, work } = place
  const sums = [...regions, held].map(sha256)
  for (const given of [regions, [regions[0]!], [regions[1]!]]) {
    const { result, out } = await salvaged(place, given)
    t.match(result, { volume: place.volume, name: 'db01', base: 0, lastWon: 23, missing: null, image: held, remarks: [] })
    t.ok(readFileSync(out).equals(place.disk), `${given.length} regions`)
    t.ok(statSync(out).blocks * 512 < IMAGE_BYTES * 0.75, 'zeros take no space')
  }
  t.same([...regions, held].map(sha256), sums)
  const human = await holdfast('salvage', '--region', ...regions, '--backing', place.image, '--out', work.file('none'), '--dry-run')
  t.equal(human.code, EXIT.done)
  t.match(human.stdout, /^salvage of volume db01 \(.*\n[^]*used {6}records 1 to 23 of epoch 1 from .*a\.region\.\d+\n {2}missing {3}nothing[^]*dry run: .*\/none would be the image with records 1 to 23\n$/)
  t.notOk(existsSync(work.file('none')))
})

t.test('what one region has damaged is taken from the other, header or data, in both of them at once', async (t) => {
  const place = await copied(), [a, b] = place.regions as [string, string]
  damage(a, 5)
  damage(a, 12, 60)
  damage(b, 9)
  const { result, out } = await salvaged(place, [a, b])
  t.ok(readFileSync(out).equals(place.disk))
  t.same(result.used.map(({ region, fromWon, toWon }) => [region, fromWon, toWon]), [[a, 1, 4], [b, 5, 8], [a, 9, 11], [b, 12, 23]])
  t.match(result.regions.map(({ findings }) => findings.filter((each) => each.damage).map(({ won }) => won)), [[5], [9]], 'and it is said what was damaged where')
})

t.test('a record that nobody has any more: the disk as of the one before, and where it stops', async (t) => {
  const place = await copied(), [a, b] = place.regions as [string, string]
  for (const region of [a, b]) damage(region, 15)
  const { result, out } = await salvaged(place, [a, b])
  const told = await holdfast('salvage', '--region', a, b, '--backing', place.image, '--out', place.work.file('told'))
  t.equal(told.code, EXIT.damaged)
  t.ok(readFileSync(place.work.file('told')).equals(readFileSync(out)))
  t.match(told.stderr, new RegExp(`^holdfast: ${place.work.file('told')} is the disk up to record 14: records 15 to 2\\d cannot be had: no region has a good copy of record 15`))
  t.match(result, { lastWon: 14, missing: { fromWon: 15 } })
  const expected = before()
  for (let i = 1; i <= 14; i++) expected.fill(i, i * 4096, (i + 1) * 4096)
  t.ok(readFileSync(out).equals(expected), 'nothing of what came later is in it')
})

t.test('a region whose segment header or superblocks are gone', async (t) => {
  const place = await copied(), [a, b] = place.regions as [string, string], copy = place.work.file('copy')
  copyFileSync(a, copy)
  const bytes = readFileSync(a), first = recordsIn(a)[0]!.offset
  bytes.fill(0xa5, first - HEADER_BYTES, first)
  writeFileSync(a, bytes)
  damage(b, 7)
  const { result, out } = await salvaged(place, [a, b])
  t.same(result.used.map(({ region, fromWon, toWon }) => [region === a, fromWon, toWon]), [[false, 1, 6], [true, 7, 23]])
  t.ok(readFileSync(out).equals(place.disk))
  const gone = readFileSync(copy)
  for (const at of [100, 262144 + 100]) gone[at]! ^= 1
  writeFileSync(a, gone)
  const without = await salvaged(place, [a, b])
  t.match(without.result.regions.find(({ path }) => path === a)!.problem, /both superblocks are damaged/)
  t.equal(without.result.lastWon, 6)
})
