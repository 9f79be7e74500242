import t from 'tap'
import { Watchdog } from '../../lib/daemon/watchdog.js'
import { IoRing } from '../../lib/io/ring.js'
import type { CompletionTarget } from '../../lib/ports/io.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'

t.test('it is fed through the ring of the guests\' requests', async (t) => {
  const ring = new IoRing(8)
  let fed = 0
  const watchdog = new Watchdog(ring, 40, () => { fed++ })
  await until('it to be fed', 5000, () => fed >= 5)
  watchdog.stop()
  await ring.drain()
  ring.close()
  const before = fed
  await sleep(60)
  t.equal(fed, before)
})

t.test('a ring that gives nothing back: no food, and no second operation', async (t) => {
  const asked: CompletionTarget[] = []
  let fed = 0
  const watchdog = new Watchdog({ nop: (target) => { asked.push(target) } }, 20, () => { fed++ })
  t.teardown(() => watchdog.stop())
  await sleep(100)
  t.same([asked.length, fed], [1, 0], 'the event loop turned, and that is not enough')
  asked[0]!.complete(0, 0)
  await until('it to go on', 5000, () => asked.length === 2)
  t.equal(fed, 1)
})
