/** Shared storage that does not keep what it promises: told by what two stores on it see of each other. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { proveDirectory, race } from '../../lib/claim/prove.js'
import type { ClaimStore } from '../../lib/ports/claim-store.js'
import { workDirectory } from '../cli/holdfast.js'

t.test('a second host that sees too little, or is let through', async (t) => {
  const directory = workDirectory(t)
  let made = 0
  const raced = (change: (store: ClaimStore) => Partial<ClaimStore>, first: (store: ClaimStore) => Partial<ClaimStore> = () => ({}), listed?: string[]) => {
    const name = `d${++made}`, one = new PosixDirClaimStore(directory, name), two = new PosixDirClaimStore(directory, name)
    mkdirSync(join(directory, name))
    return race(wrapped(one, first(one)), wrapped(two, change(two)), directory, 'a', () => Promise.resolve(listed ?? readdirSync(join(directory, name))))
  }
  t.match(await raced(() => ({})), { ok: true })
  t.match(await raced(() => ({ readBeat: () => Promise.resolve(null) })), { ok: false, text: /does not show a file that was just renamed/ })
  t.match(await raced(() => ({ compareAndSwap: () => Promise.resolve('won') }), () => ({ compareAndSwap: () => Promise.resolve('won') })),
    { ok: false, text: /lets two hosts make the same change/, remedy: /atomic link\(\) and rename\(\)/ })
  t.match(await raced(() => ({ read: () => Promise.resolve(null) })), { ok: false, text: /shows another claim than the one that won/ })
  t.match(await raced(() => ({}), () => ({ compareAndSwap: () => Promise.resolve('unknown') })), { ok: false, text: /has no link\(\)/ })
  let calls = 0
  t.match(await raced(() => ({}), (store) => ({ compareAndSwap: (expected, next) => (++calls === 2 ? Promise.resolve('won') : store.compareAndSwap(expected, next)) })),
    { ok: false, text: /lets a change be made that comes too late/ })
  t.match(await raced(() => ({}), () => ({}), []), { ok: false, text: /lists nothing where a claim and a heartbeat are/ })
})

t.test('nothing is left, and others at the same time are in nobody\'s way', async (t) => {
  const directory = workDirectory(t), deep = join(directory, 'not/there')
  t.match(await Promise.all(['a', 'b', 'c'].map((host) => proveDirectory(directory, host))), [{ ok: true }, { ok: true }, { ok: true }])
  t.match(await proveDirectory(deep, 'a'), { ok: true, text: `claims in ${deep}: of two changes at once one is won and one is lost` })
  t.same(readdirSync(directory), [])
  writeFileSync(join(directory, 'file'), '')
  t.match(await proveDirectory(join(directory, 'file/claims'), 'a'), { ok: false, text: /claims cannot be used: ENOTDIR: not a directory$/, remedy: /mount the shared storage/ })
})

function wrapped(store: ClaimStore, change: Partial<ClaimStore>): ClaimStore {
  return {
    where: store.where, read: () => store.read(), compareAndSwap: (expected, next) => store.compareAndSwap(expected, next), beat: (beat) => store.beat(beat),
    readBeat: () => store.readBeat(), ...change,
  }
}
