/**
 * A datastore stands still under one volume's claims, and whoever calls it waits where no signal reaches: the claims of another
 * datastore change all the time, the threads of this process are free, and all is well once it is back.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { ClaimWorkers } from '../../lib/claim/claim-workers.js'
import { EXIT } from '../../lib/core/failure.js'
import { epoch } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { SlowFolder } from '../../fixtures/lab/slow-folder.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

t.test('a datastore that hangs', { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse', '/dev/loop-control', 'mkfs.ext4'), timeout: 60_000 }, async (t) => {
  const work = new Workspace('hungds'), folder = await SlowFolder.create(work), said: string[] = []
  const workers = new ClaimWorkers('alpha', { info: (m) => said.push(`info ${m}`), warn: (m) => said.push(`warn ${m}`) })
  t.teardown(async () => { workers.close(); await work.close() })
  const hungPlace = `${folder.path}/claims`, goodPlace = work.file('claims'), owner = claimOf(1).owner
  mkdirSync(hungPlace)
  const hung = Array.from({ length: limits.claimCallsMax + 4 }, (_, i) => workers.store(hungPlace, `db${i}`)), good = workers.store(goodPlace, 'db')
  for (const store of hung) t.equal(await store.compareAndSwap(epoch(0), claimOf(1)), 'won')
  t.equal(await good.compareAndSwap(epoch(0), claimOf(1)), 'won')
  const stuck = workers.pidOf(hungPlace)!
  t.not(stuck, workers.pidOf(goodPlace))

  folder.hang()
  let waiting = hung.length
  const beats = hung.map((store) => store.beat({ owner, epoch: epoch(1), counter: 1 }).then(() => 'renewed', (error: unknown) => error).finally(() => { waiting-- }))
  for (let nth = 2; nth <= 30; nth++) t.equal(await good.compareAndSwap(epoch(nth - 1), claimOf(nth)), 'won')
  t.equal(waiting, hung.length, 'all the while nobody had an answer there')
  t.match(await readFile('/proc/self/stat', 'utf8'), /node/, 'and this process reads files')
  t.match(readFileSync(`/proc/${stuck}/status`, 'utf8'), /^State:\t[^ZX]/m)
  for (const outcome of await Promise.all(beats)) t.match(outcome, { exitCode: EXIT.unreachable, message: /did not answer within \d+ ms \(renew\); check the shared storage$/ })

  const late = claimOf(2)
  const outcome = hung[0]!.compareAndSwap(epoch(1), late)
  t.equal(await outcome, 'unknown', 'a change that was not answered may have been made, or be made yet')
  await until('another worker', 30_000, async () => { await hung[1]!.beat({ owner, epoch: epoch(1), counter: 2 }).catch(() => undefined); return workers.pidOf(hungPlace) !== stuck })
  t.equal(await good.compareAndSwap(epoch(30), claimOf(31)), 'won')
  t.match(readFileSync(`/proc/${stuck}/status`, 'utf8'), /^State:\t/m, 'the old one cannot be killed')
  const lines = said.filter((line) => /claim worker \d+ is left behind/.test(line))
  t.match(lines, [new RegExp(`^warn the datastore of ${hungPlace} has not answered for \\d+ s: .* claim worker ${stuck} is left behind and another one tries; check the shared storage$`)])
  t.equal(lines.length, 1)

  folder.resume()
  await until('its claims', 20_000, () => hung[0]!.read().then((claim) => claim !== null, () => false))
  const claim = (await hung[0]!.read())!
  t.ok(claim.epoch === 1 || claim.nonce === late.nonce, 'it was made late, or not at all')
  t.equal(await hung[0]!.compareAndSwap(claim.epoch, claimOf(claim.epoch + 1)), 'won')
  t.ok(said.some((line) => /answers again after \d+ s$/.test(line)))
})
