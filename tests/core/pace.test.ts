import t from 'tap'
import { Paces, type PaceLimits } from '../../lib/core/pace.js'

const LIMITS: PaceLimits = { slowMs: 100, forMs: 1000 }

/** Records one after the other for so long; the owner is the first member. Returns the time it is then. */
function run(paces: Paces, fromMs: number, forMs: number, took: readonly number[]): number {
  let now = fromMs, won = fromMs + 1
  for (; now < fromMs + forMs; won++) {
    paces.sent(won, now)
    took.forEach((ms, i) => paces.confirmed(i, won, now + ms, LIMITS))
    now += Math.max(1, ...took)
  }
  return now
}

t.test('a member is too slow when it has been so for the whole time', async (t) => {
  const paces = new Paces(2, 0), half = run(paces, 0, 600, [1, 120])
  t.equal(paces.tooSlow(1, half, LIMITS), false, 'not yet')
  t.equal(paces.tooSlow(1, run(paces, half, 600, [1, 120]), LIMITS), true)
  t.equal(paces.tooSlow(0, half + 600, LIMITS), false)
})

t.test('between half of the limit and the limit nothing changes', async (t) => {
  const fast = new Paces(2, 0)
  t.equal(fast.tooSlow(1, run(fast, 0, 3000, [1, 90]), LIMITS), false, 'one that was fast stays so')
  const slow = new Paces(2, 0), then = run(slow, 0, 600, [1, 120])
  t.equal(slow.tooSlow(1, run(slow, then, 2500, [1, 90]), LIMITS), true, 'one that was slow as well')
  const better = new Paces(2, 0), later = run(better, 0, 600, [1, 120])
  t.equal(better.tooSlow(1, run(better, later, 3000, [1, 10]), LIMITS), false)
})

t.test('what all suffer from is no member\'s fault', async (t) => {
  const paces = new Paces(3, 0), now = run(paces, 0, 4000, [100, 300, 450])
  t.equal(paces.tooSlow(1, now, LIMITS), false)
  t.equal(paces.tooSlow(2, now, LIMITS), true, 'more than four times the own region')
})

t.test('an idle volume says nothing of its members', async (t) => {
  const paces = new Paces(2, 0), now = run(paces, 0, 1500, [1, 120])
  t.equal(paces.tooSlow(1, now + 900, LIMITS), true)
  t.equal(paces.tooSlow(1, now + 1200, LIMITS), false)
})

t.test('one record is watched until all have it, and an older answer is none', async (t) => {
  const paces = new Paces(2, 0)
  paces.sent(5, 0)
  t.equal(paces.idle, false)
  paces.confirmed(1, 4, 10, LIMITS)
  t.equal(paces.meanMs(1), 0)
  paces.confirmed(1, 7, 20, LIMITS)
  paces.confirmed(1, 8, 30, LIMITS)
  t.equal(paces.meanMs(1), 20)
  t.throws(() => paces.sent(9, 40), /one record is watched/)
  paces.confirmed(0, 5, 50, LIMITS)
  t.equal(paces.idle, true)
})
