/** One seed is one run: the same events, the same bytes, whatever this machine is busy with. */
import t from 'tap'
import { simulateSeed } from '../../fixtures/sim/run.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

t.test('twice the same, and each seed another', async (t) => {
  const work = new Workspace('sim'), hashes = new Set<string>()
  t.teardown(() => work.close())
  for (const seed of [3, 7, 12]) {
    const first = await simulateSeed(work, seed), second = await simulateSeed(work, seed)
    t.equal(second.hash, first.hash, `seed ${seed}`)
    t.same(second.violations, [])
    t.ok(first.events > 1000)
    hashes.add(first.hash)
  }
  t.equal(hashes.size, 3)
})
