import t from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { epoch } from '../../lib/core/units.js'
import { ClosingStore } from '../../lib/daemon/closing-store.js'
import type { ClaimStore } from '../../lib/ports/claim-store.js'
import { claimOf } from '../claim/claims.js'

t.test('the image is closed before a claim says that nobody has it, and only then', async (t) => {
  const said: string[] = []
  const inner: ClaimStore = {
    where: '/claims/db01', read: () => Promise.resolve(null), beat: () => Promise.resolve(), readBeat: () => Promise.resolve(null),
    compareAndSwap: (_expected, next) => { said.push(`swap ${next.epoch}`); return Promise.resolve('won') },
  }
  const store = new ClosingStore(inner, async () => {
    await new Promise((resolve) => setImmediate(resolve))
    said.push('closed')
  })
  const claim: Claim = claimOf(1)
  t.equal(await store.compareAndSwap(epoch(0), claim), 'won')
  t.equal(await store.compareAndSwap(epoch(1), { ...claim, epoch: epoch(2), released: true }), 'won')
  t.same(said, ['swap 1', 'closed', 'swap 2'])
  t.equal(store.where, '/claims/db01')
  t.same([await store.read(), await store.readBeat()], [null, null])
})
