import t from 'tap'
import { ratioOf } from '../../fixtures/bench/data-path.js'
import { BEST_QSD, HOLDFAST, PLAIN, QSD_KINDS, QUORUM, RAW, ROWS, TLS, contestants, selectRows } from '../../fixtures/bench/rows.js'

t.test('words select rows by how their ids begin', async (t) => {
  t.equal(selectRows(ROWS, []).length, ROWS.length)
  t.same(selectRows(ROWS, ['durable', 'read-hit-1', 'flush-1']).map(({ id }) => id), ['read-hit-1', 'flush-1', 'durable-1', 'durable-32'])
  t.same(selectRows(ROWS, ['nothing']), [])
  t.equal(new Set(ROWS.map(({ id }) => id)).size, ROWS.length, 'no two rows have one id')
})

t.test('everybody that a ratio names is measured, and everybody once', async (t) => {
  const byId = (id: string): string[] => contestants(ROWS.find((row) => row.id === id)!)
  t.same(byId('write4k-32'), [HOLDFAST, ...QSD_KINDS, RAW])
  t.same(byId('replica-32').sort(), [PLAIN, TLS, QUORUM, ...QSD_KINDS].sort())
})

t.test('a ratio takes the fastest qsd, for its CPU time too', async (t) => {
  const figures = {
    [HOLDFAST]: { iops: 300, cpuUs: 2, worstIops: 60 }, [QSD_KINDS[0]]: { iops: 100, cpuUs: 4 }, [QSD_KINDS[1]]: { iops: 150, cpuUs: 8 },
  }
  const ratio = { of: HOLDFAST, to: BEST_QSD, required: null, goal: null }
  t.match(ratioOf({ ...ratio, metric: 'iops' }, figures), { toName: QSD_KINDS[1], value: 2 })
  t.match(ratioOf({ ...ratio, metric: 'cpu' }, figures), { toName: QSD_KINDS[1], value: 0.25 })
  t.match(ratioOf({ ...ratio, metric: 'worst' }, figures), { value: 0.4 }, 'its worst second against what the other does on average')
  t.ok(Number.isNaN(ratioOf({ ...ratio, to: QUORUM, metric: 'iops' }, figures).value), 'nothing to compare with')
})
