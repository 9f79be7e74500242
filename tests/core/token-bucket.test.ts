import t from 'tap'
import fc from 'fast-check'
import { TokenBucket } from '../../lib/core/token-bucket.js'

t.test('a burst first, then the rate', async (t) => {
  const bucket = new TokenBucket(1000, 100)
  let passed = 0
  for (let ms = 0; ms < 1000; ms++) {
    for (; bucket.waitMs(1, ms) === 0; passed++) bucket.take(1)
  }
  t.ok(passed >= 1098 && passed <= 1100, `${passed} in the first second: 100 saved up and 1000`)
  t.equal(bucket.waitMs(1, 1e6), 0)
  passed = 0
  for (; bucket.waitMs(1, 1e6) === 0; passed++) bucket.take(1)
  t.equal(passed, 100, 'a long pause saves up no more than the burst')
})

t.test('a request larger than the burst passes alone and is paid for afterwards', async (t) => {
  const bucket = new TokenBucket(1_000_000, 10)
  t.equal(bucket.waitMs(1_000_000, 0), 0)
  bucket.take(1_000_000)
  t.ok(bucket.waitMs(1, 0) > 900, 'the next one waits about a second')
  t.equal(bucket.waitMs(10_000, 1001), 0)
})

t.test('over any time, never more than the rate and one burst', async () => {
  fc.assert(fc.property(fc.array(fc.record({ gap: fc.integer({ min: 0, max: 50 }), cost: fc.integer({ min: 1, max: 20 }) }), { maxLength: 200 }), (steps) => {
    const bucket = new TokenBucket(1000, 20)
    let now = 0, used = 0
    for (const { gap, cost } of steps) {
      now += gap
      if (bucket.waitMs(cost, now) > 0) continue
      bucket.take(cost)
      used += cost
    }
    if (used > now + 20) throw new Error(`${used} tokens in ${now} ms`)
  }))
})
