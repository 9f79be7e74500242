import t from 'tap'
import type { RatioResult, RowResult } from '../../fixtures/bench/data-path.js'
import { merge } from '../../fixtures/bench/results-file.js'
import { noteLines, ratioTable, standing, table } from '../../fixtures/bench/table.js'

const ratio = (value: number, more: Partial<RatioResult> = {}): RatioResult =>
  ({ of: 'Holdfast', to: 'best qsd', toName: 'qsd native', metric: 'iops', required: 2.5, goal: 3, value, ...more })

const row = (id: string, more: Partial<RowResult> = {}): RowResult => ({
  id, title: `title of ${id}`, client: 'libblkio', rounds: 3, secondsEach: 2, figures: { Holdfast: { iops: 280.4 }, 'qsd native': { iops: 100 } },
  spread: { Holdfast: 0.04, 'qsd native': 0.11 }, ratios: [ratio(2.8)], notes: [], error: null, ...more,
})

t.test('names to the left, figures to the right', async (t) => {
  t.equal(table([['a', 'bb', 'c'], ['long', '1', '22']]), 'a      bb    c\nlong    1   22')
})

t.test('a figure is said to be below, reached or at the goal; of CPU time less is better', async (t) => {
  t.same([2.4, 2.5, 2.99, 3].map((value) => standing(ratio(value))), ['below', 'reached', 'reached', 'goal'])
  t.same([0.9, 1.1].map((value) => standing(ratio(value, { metric: 'cpu', required: 1, goal: null }))), ['reached', 'below'])
  t.equal(standing(ratio(7, { required: null, goal: null })), '', 'a row that asks for nothing')
  t.equal(standing(ratio(NaN)), 'not measured')
})

t.test('a row has both figures, who the best was, and the larger spread', async (t) => {
  const [, line] = ratioTable([row('x')]).split('\n')
  t.match(line, /^title of x {3,}Holdfast {3,}280 {3,}qsd native {3,}100 {3,}2\.80x {3,}2\.50x {3,}3\.00x {3,}reached {3,}11 %$/)
  const broken = row('y', { error: 'not here: nbdkit', ratios: [], notes: [] })
  t.equal(ratioTable([broken]).split('\n').length, 1, 'a row without figures is not in the table')
  t.equal(noteLines([broken, row('x', { notes: ['odd'] })]), 'y: not measured: not here: nbdkit\nx: odd')
})

t.test('what was not measured this time stays in the file', async (t) => {
  const recovery = [{ records: 1 }] as never
  const merged = merge({ recovery, rows: [row('a', { rounds: 1 }), row('b', { rounds: 1 })] }, { rows: [row('b', { rounds: 9 })] })
  t.equal(merged.recovery, recovery)
  t.same(merged.rows!.map(({ id, rounds }) => [id, rounds]), [['a', 1], ['b', 9]])
})
