/** What `make test` counts. */
import t from 'tap'
import { countTap } from '../../fixtures/setup/tap-count.js'

t.test('assertions are counted, not their summaries', async (t) => {
  const stream = ['TAP version 14', '# Subtest: a', '    ok 1 - one', '    # Subtest: deeper', '        ok 1 - two', '        1..1', '    ok 2 - deeper # time=3ms',
    '    1..2', 'ok 1 - a # time=5ms', 'ok 2 - three', '1..2'].join('\n')
  t.strictSame(countTap(stream), { passed: 3, failed: 0, skipped: [] })
})

t.test('a failure counts once, its diagnostics do not', async (t) => {
  const stream = ['# Subtest: a', '    not ok 1 - wrong', '      ---', '      source: |', '        ok 7 - part of the source', '    not ok 9 - this too', '      ...',
    '    ok 2 - right', '    1..2', 'not ok 1 - a # time=5ms', '1..1'].join('\n')
  t.strictSame(countTap(stream), { passed: 1, failed: 1, skipped: [] })
})

t.test('a test that fails although its assertions passed', async (t) => {
  const stream = ['# Subtest: a', '    ok 1 - right', '    1..2', 'not ok 1 - a # time=5ms', '1..1'].join('\n')
  t.strictSame(countTap(stream), { passed: 1, failed: 1, skipped: [] })
})

t.test('skips are named with their reason', async (t) => {
  t.strictSame(countTap('ok 1 - boots # SKIP not here: qemu\nok 2 - other\n1..2'), { passed: 1, failed: 0, skipped: ['boots: not here: qemu'] })
})

t.test('a failure in one subtest does not hide that the next one failed by itself', async (t) => {
  const stream = ['# Subtest: a', '    not ok 1 - wrong', '    1..1', 'not ok 1 - a', '# Subtest: b', '    ok 1 - right', '    1..2', 'not ok 2 - b', '1..2'].join('\n')
  t.strictSame(countTap(stream), { passed: 1, failed: 2, skipped: [] })
})
