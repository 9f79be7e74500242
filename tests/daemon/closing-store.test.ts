import t from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import type { Fingerprint } from '../../lib/core/fingerprint.js'
import { epoch } from '../../lib/core/units.js'
import { ClosingStore } from '../../lib/daemon/closing-store.js'
import type { ClaimStore, SwapOutcome } from '../../lib/ports/claim-store.js'
import { claimOf } from '../claim/claims.js'

const FINGERPRINT: Fingerprint = { sizeBytes: 4096, modifiedMs: 7, blocks: '0123abcd' }
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What happens, in order, and what the inner store was given. */
function made(look: () => Promise<Fingerprint>, outcomes: SwapOutcome[] = []) {
  const said: string[] = [], swapped: Claim[] = []
  const inner: ClaimStore = {
    where: '/claims/db01', read: () => Promise.resolve(null), beat: () => Promise.resolve(), readBeat: () => Promise.resolve(null),
    compareAndSwap: (_expected, next) => { said.push(`swap ${next.epoch}`); swapped.push(next); return Promise.resolve(outcomes.shift() ?? 'won') },
  }
  const store = new ClosingStore(inner, {
    fingerprint: async () => { await soon(); said.push('looked at'); return look() },
    close: async () => { await soon(); said.push('closed') },
    warn: (message) => said.push(message),
  })
  return { store, said, swapped }
}

const claim = claimOf(1), released: Claim = { ...claim, epoch: epoch(2), released: true }

t.test('the image is looked at and closed before a claim says that nobody has it, and only then', async (t) => {
  const { store, said, swapped } = made(() => Promise.resolve(FINGERPRINT))
  t.equal(await store.compareAndSwap(epoch(0), claim), 'won')
  t.equal(await store.compareAndSwap(epoch(1), released), 'won')
  t.same(said, ['swap 1', 'looked at', 'closed', 'swap 2'])
  t.same(swapped, [claim, { ...released, fingerprint: FINGERPRINT }])
  t.equal(store.where, '/claims/db01')
  t.same([await store.read(), await store.readBeat()], [null, null])
})

t.test('a swap that is tried again says the same, although the image is closed', async (t) => {
  const { store, said, swapped } = made(() => Promise.resolve(FINGERPRINT), ['unknown', 'won'])
  t.equal(await store.compareAndSwap(epoch(1), released), 'unknown')
  t.equal(await store.compareAndSwap(epoch(1), released), 'won')
  t.equal(said.filter((what) => what === 'looked at').length, 1)
  t.same(swapped[1], swapped[0])
})

t.test('an image that cannot be read is given up all the same, without a fingerprint', async (t) => {
  const { store, said, swapped } = made(() => Promise.reject(new Error('errno 5')))
  t.equal(await store.compareAndSwap(epoch(1), released), 'won')
  t.same(swapped, [released])
  t.match(said, ['looked at', /may go unnoticed: errno 5/, 'closed', 'swap 2'])
})
