/** `holdfast salvage` over a change of ownership, and what it refuses. */
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { holdfast } from '../cli/holdfast.js'
import { TIMING } from '../volume/lab.js'
import { Writer, killed, salvaged } from './salvage-lab.js'

t.test('two epochs, with what the claim cut off', async (t) => {
  const place = await killed(t, { hosts: ['a', 'b', 'c'], replicas: { a: ['b'], b: ['c'] }, timing: TIMING.replace('quarantine = "600ms"', 'quarantine = "60s"') })
  const { cluster, work, image } = place, [ra, rb, rc] = place.regions as [string, string, string]
  await Promise.all([cluster.host('b').start(), cluster.host('c').start()])
  const writer = new Writer(await VhostClient.connect(cluster.socket('b')), place.disk)
  await writer.write(100, 8, 0x99)
  await writer.write(8, 8, 0x98)
  for (const host of ['b', 'c']) await cluster.host(host).kill9()
  for (const given of [[ra, rb], [ra, rc], [rb]]) {
    const { result, out } = await salvaged(place, given)
    t.ok(readFileSync(out).equals(writer.disk))
    t.same(result.used.map(({ fromWon, toWon }) => [fromWon, toWon]), [[1, 23], [24, 25]], 'both logs are used')
  }
  const old = await salvaged(place, [ra])
  t.match(old.result, { lastWon: 23, missing: { fromWon: 24, toWon: null, reason: /the newest records are on b, c only/ } }, 'the claim knows that this region is not enough')
  const late = await salvaged(place, [rc])
  t.match(late.result, { lastWon: 0, missing: { fromWon: 1, toWon: 23, reason: /^no log of epoch 1 is in any/ } }, 'nothing is applied over a hole')
  t.ok(readFileSync(late.out).equals(readFileSync(place.held)))

  const none = work.file('empty')
  const blind = await salvaged(place, [ra], { claims: none })
  t.match(blind.result, { lastWon: 23, claim: null, claimProblem: /no claim of this volume was found/, remarks: [/nothing says whether these are the newest logs/] })
  t.ok(readFileSync((await salvaged(place, [ra, rb], { claims: none })).out).equals(writer.disk), 'with all regions the logs themselves say where epochs begin')
  t.match((await salvaged(place, [rc], { claims: none })).result, { lastWon: 0, missing: { fromWon: 1, toWon: 23 } })
  const claims = join(image, '../.holdfast/db01'), [first, ...later] = readdirSync(claims).filter((name) => name.startsWith('epoch')).sort()
  for (const name of later) renameSync(join(claims, name), work.file(name))
  t.ok(first)
  t.match((await salvaged(place, [ra, rb])).result, { lastWon: 25, claim: null, claimProblem: /it is an old copy/ })
})

t.test('what is refused', async (t) => {
  const place = await killed(t), { image, work, cluster } = place, [a, b] = place.regions as [string, string]
  const there = work.file('there')
  writeFileSync(there, 'precious')
  t.match(await holdfast('salvage', '--region', a, '--backing', image, '--out', there), { code: EXIT.unsafe, stderr: `holdfast: ${there} exists, and salvage writes only what is new; choose another name (nothing was changed)\n` })
  t.equal(readFileSync(there, 'utf8'), 'precious')
  await t.rejects(salvaged(place, [a], { volume: 'db02' }), { exitCode: EXIT.usage, message: new RegExp(`no volume db02 in these regions; there are: ${place.volume} \\(db01\\)`) })
  const small = work.file('small.raw')
  writeFileSync(small, Buffer.alloc(8192))
  t.match(await holdfast('salvage', '--region', a, '--backing', small, '--out', work.file('x')), { code: EXIT.usage, stderr: /it is not the image of volume/ })
  rmSync(small)
  await cluster.host('b').start()
  const owner = new Writer(await VhostClient.connect(cluster.socket('b')), place.disk)
  await owner.write(0, 8, 1)
  await t.rejects(salvaged(place, [a, b]), { exitCode: EXIT.unsafe, message: /b\.region is in use by a daemon/ })
  await t.rejects(salvaged(place, [a]), { exitCode: EXIT.unsafe, message: /host b serves this volume just now/ })
  t.same(readdirSync(work.path).filter((name) => name.includes('.part') || name === 'x'), [])
})
