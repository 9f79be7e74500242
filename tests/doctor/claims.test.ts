/** Shared storage that does not keep what it promises: told by what two stores on it see of each other. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { race } from '../../lib/doctor/claims.js'
import type { ClaimStore } from '../../lib/ports/claim-store.js'
import { workDirectory } from '../cli/holdfast.js'

t.test('a second host that sees too little, or is let through', async (t) => {
  const directory = workDirectory(t)
  let made = 0
  const raced = (change: (store: ClaimStore) => Partial<ClaimStore>, first: (store: ClaimStore) => Partial<ClaimStore> = () => ({})) => {
    const name = `d${++made}`, one = new PosixDirClaimStore(directory, name), two = new PosixDirClaimStore(directory, name)
    mkdirSync(join(directory, name))
    return race(wrapped(one, first(one)), wrapped(two, change(two)), directory, 'claims', 'a')
  }
  t.match(await raced(() => ({})), { level: 'ok' })
  t.match(await raced(() => ({ readBeat: () => Promise.resolve(null) })), { level: 'fail', text: /does not show a file that was just renamed/ })
  t.match(await raced(() => ({ compareAndSwap: () => Promise.resolve('won') })), { level: 'fail', text: /lets two hosts make the same change/, remedy: /atomic link\(\) and rename\(\)/ })
  t.match(await raced(() => ({ read: () => Promise.resolve(null) })), { level: 'fail', text: /shows another claim than the one that won/ })
  t.match(await raced(() => ({}), () => ({ compareAndSwap: () => Promise.resolve('unknown') })), { level: 'fail', text: /has no link\(\)/ })
})

function wrapped(store: ClaimStore, change: Partial<ClaimStore>): ClaimStore {
  return {
    where: store.where, read: () => store.read(), compareAndSwap: (expected, next) => store.compareAndSwap(expected, next), beat: (beat) => store.beat(beat),
    readBeat: () => store.readBeat(), ...change,
  }
}
