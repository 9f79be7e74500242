import t from 'tap'
import fc from 'fast-check'
import { LogHistogram, between, boundOf, countOf, quantileOf } from '../../lib/core/log-histogram.js'

const of = (...values: number[]): LogHistogram => {
  const histogram = new LogHistogram(2, 5)
  for (const value of values) histogram.add(value)
  return histogram
}

t.test('bounds belong to the bucket below them', async (t) => {
  // 4, 8, 16, 32, and what is above.
  t.same(of(0, 0.2, 1, 3.9, 4).snapshot(), { first: 2, counts: [5, 0, 0, 0, 0], sum: 9.1 })
  t.same(of(4.1, 5, 8).snapshot().counts, [0, 3, 0, 0, 0])
  t.same(of(8.001, 16, 17, 32, 33, 1e9, 1e12).snapshot().counts, [0, 0, 2, 2, 3])
  t.same([0, 1, 2, 3, 4].map((bucket) => boundOf(of().snapshot(), bucket)), [4, 8, 16, 32, Infinity])
})

t.test('every value is counted once, in the bucket that holds it', async (t) => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1e11, noNaN: true }), { maxLength: 50 }), (values) => {
    const histogram = new LogHistogram(4, 25)
    for (const value of values) {
      const before = histogram.snapshot()
      histogram.add(value)
      const after = histogram.snapshot(), bucket = after.counts.findIndex((n, i) => n !== before.counts[i])
      const above = bucket === 0 ? -1 : boundOf(after, bucket - 1)
      if (!(value > above && value <= boundOf(after, bucket))) return false
    }
    return countOf(histogram.snapshot()) === values.length
  }))
  t.pass('for any values')
})

t.test('what came between two snapshots', async (t) => {
  const histogram = of(5, 9)
  const before = histogram.snapshot()
  histogram.add(30)
  histogram.add(6)
  t.same(between(before, histogram.snapshot()), { first: 2, counts: [0, 1, 0, 1, 0], sum: 36 })
})

t.test('quantiles lie in the bucket of their value', async (t) => {
  t.equal(quantileOf(of().snapshot(), 0.5), null)
  t.equal(quantileOf(of(5, 6, 7, 8).snapshot(), 0.5), 6)
  t.equal(quantileOf(of(1, 20).snapshot(), 1), 32)
  t.equal(quantileOf(of(1000).snapshot(), 0.99), 32, 'nothing is known above the last bound')
  const many = of(...Array.from({ length: 99 }, () => 5), 31).snapshot()
  t.ok(quantileOf(many, 0.5)! <= 8)
  t.ok(quantileOf(many, 0.995)! > 16)
})
