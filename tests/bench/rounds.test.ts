import t from 'tap'
import { contenders, median, medians, orderOf, spread } from '../../fixtures/bench/rounds.js'

t.test('each round has everybody once, and nobody always follows the same neighbour', async (t) => {
  t.same(orderOf(0, ['a', 'b', 'c']), ['a', 'b', 'c'])
  t.same(orderOf(1, ['a', 'b', 'c']), ['b', 'c', 'a'])
  t.same(orderOf(5, ['a', 'b', 'c']), ['c', 'a', 'b'])
  t.same(orderOf(3, []), [])
})

t.test('a median is in the middle, whatever the order of measurement', async (t) => {
  t.equal(median([9, 1, 5]), 5)
  t.equal(median([10, 2, 4, 100]), 7, 'of an even number, between the two')
  t.ok(Number.isNaN(median([])))
  const values = [3, 1, 2]
  median(values)
  t.same(values, [3, 1, 2], 'what was measured keeps its order')
})

t.test('medians go figure by figure, without what a sample lacks', async (t) => {
  t.same(medians<'iops' | 'cpu'>([{ iops: 1, cpu: 7 }, { iops: 5, cpu: NaN }, { iops: 3 }]), { iops: 3, cpu: 7 })
})

t.test('whoever is close to the best stays', async (t) => {
  t.same(contenders(new Map([['slow', 80], ['best', 100], ['close', 96]]), 0.05), ['best', 'close'])
  t.same(contenders(new Map([['only', 0]]), 0.05), ['only'])
})

t.test('spread is half the range as a share of the median', async (t) => {
  t.equal(spread([90, 100, 110]), 0.1)
  t.equal(spread([100]), 0)
})
