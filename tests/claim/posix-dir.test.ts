import { existsSync, linkSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { EXIT } from '../../lib/core/failure.js'
import { epoch } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

function directory(t: Test): string {
  const workspace = new Workspace('claim')
  t.teardown(() => workspace.close())
  return workspace.path
}

const fileOf = (store: PosixDirClaimStore, nth: number): string => join(store.where, `epoch-${String(nth).padStart(16, '0')}.json`)

t.test('the first claim is made where there is none, and everybody reads it', async (t) => {
  const path = join(directory(t), 'not/there/yet'), store = new PosixDirClaimStore(path, 'db')
  t.equal(await store.read(), null)
  t.notOk(existsSync(path), 'reading makes nothing')
  const claim = claimOf(1)
  t.equal(await store.compareAndSwap(epoch(0), claim), 'won')
  t.same(await store.read(), claim)
  t.same(await new PosixDirClaimStore(path, 'db').read(), claim)
  t.same(readdirSync(store.where), ['epoch-0000000000000001.json'])
  t.equal(await new PosixDirClaimStore(path, 'other').read(), null, 'each volume has its own')
})

t.test('a damaged claim is reported and never written over', async (t) => {
  const store = new PosixDirClaimStore(directory(t), 'db')
  await store.compareAndSwap(epoch(0), claimOf(1))
  const good = readFileSync(fileOf(store, 1), 'utf8')
  const cases = [
    ['', /cannot be read as JSON/], [good.slice(0, -20), /cannot be read as JSON/],
    [good.replace('"start": 0', '"start": 1'), /does not match its checksum/], [good.replace('alpha', 'alphb'), /does not match its checksum/],
  ] as const
  for (const [text, message] of cases) {
    writeFileSync(fileOf(store, 1), text)
    await t.rejects(store.read(), { name: 'Failure', exitCode: EXIT.damaged, message })
    await t.rejects(store.read(), { message: new RegExp(`${fileOf(store, 1)}.*nothing was changed: restore the file`) })
    t.not(await store.compareAndSwap(epoch(0), claimOf(1)), 'won')
    t.equal(readFileSync(fileOf(store, 1), 'utf8'), text)
  }
  writeFileSync(fileOf(store, 1), good)
  t.match(await store.read(), { epoch: 1 })
})

t.test('a claim under another epoch\'s name is not believed', async (t) => {
  const store = new PosixDirClaimStore(directory(t), 'db')
  await store.compareAndSwap(epoch(0), claimOf(1))
  renameSync(fileOf(store, 1), fileOf(store, 4))
  await t.rejects(store.read(), { exitCode: EXIT.damaged, message: /says epoch 1; nothing was changed: somebody renamed it/ })
})

t.test('what a crash left behind is not taken for a claim, and is in nobody\'s way', async (t) => {
  const store = new PosixDirClaimStore(directory(t), 'db')
  mkdirSync(store.where)
  writeFileSync(join(store.where, '.new-4711-aabbccdd-1'), '{"half')
  t.equal(await store.read(), null)
  const claim = claimOf(1)
  t.equal(await store.compareAndSwap(epoch(0), claim), 'won')
  linkSync(fileOf(store, 1), join(store.where, '.new-4711-aabbccdd-2'))
  t.equal(await store.compareAndSwap(epoch(1), claimOf(2)), 'won', 'also when it has two names yet')
  t.match(await store.read(), { epoch: 2 })
})

t.test('only the last claims stay', async (t) => {
  const store = new PosixDirClaimStore(directory(t), 'db'), count = limits.claimsKept + 3
  for (let nth = 1; nth <= count; nth++) await store.compareAndSwap(epoch(nth - 1), claimOf(nth))
  t.match(await store.read(), { epoch: count })
  t.equal(readdirSync(store.where).length, limits.claimsKept)
  t.notOk(existsSync(fileOf(store, 3)))
  t.ok(existsSync(fileOf(store, 4)))
  t.equal(await store.compareAndSwap(epoch(0), claimOf(1)), 'lost', 'a change that comes this late finds its name free, and loses')
  t.match(await store.read(), { epoch: count })
})

t.test('a heartbeat is read as it was written, and is no part of the claim', async (t) => {
  const path = directory(t), store = new PosixDirClaimStore(path, 'db'), owner = claimOf(1).owner
  t.equal(await store.readBeat(), null)
  await store.compareAndSwap(epoch(0), claimOf(1))
  t.equal(await store.readBeat(), null)
  for (const counter of [1, 2]) {
    await store.beat({ owner, epoch: epoch(1), counter })
    t.same(await new PosixDirClaimStore(path, 'db').readBeat(), { owner, epoch: 1, counter })
  }
  t.same(readdirSync(store.where).sort(), ['epoch-0000000000000001.json', 'heartbeat.json'])
  writeFileSync(join(store.where, 'heartbeat.json'), '{"owner"')
  t.equal(await store.readBeat(), null, 'a damaged one says nothing')
  t.match(await store.read(), { epoch: 1 })
})

t.test('two heartbeats at the same time are both written whole', async (t) => {
  const store = new PosixDirClaimStore(directory(t), 'db'), owner = claimOf(1).owner
  await store.compareAndSwap(epoch(0), claimOf(1))
  for (let counter = 1; counter < 40; counter += 2) {
    await Promise.all([store.beat({ owner, epoch: epoch(1), counter }), store.beat({ owner, epoch: epoch(1), counter: counter + 1 })])
    t.match(await store.readBeat(), { owner, epoch: 1 })
  }
})

t.test('a directory that cannot be used is a sentence, and a change there has no known outcome', async (t) => {
  const path = directory(t)
  writeFileSync(join(path, 'db'), '')
  const store = new PosixDirClaimStore(path, 'db')
  await t.rejects(store.read(), { exitCode: EXIT.unreachable, message: new RegExp(`^the claim directory ${store.where} cannot`) })
  const beat = store.beat({ owner: claimOf(1).owner, epoch: epoch(1), counter: 1 })
  await t.rejects(beat, { exitCode: EXIT.unreachable, message: /cannot be used \(renew/ })
  t.equal(await store.compareAndSwap(epoch(0), claimOf(1)), 'unknown')
})

t.test('a name that could leave the directory is refused', async (t) => {
  for (const name of ['', '..', 'a/b', '.hidden', 'a\0b', 'x'.repeat(65)]) {
    const message = `"${name}" is not a volume name: letters, digits, ".", "_" and "-", at most 64`
    t.throws(() => new PosixDirClaimStore('/tmp', name), { exitCode: EXIT.config, message })
  }
})
