import t from 'tap'
import { steadiness } from '../../fixtures/bench/load.js'
import { busySeconds, statFields } from '../../fixtures/bench/proc.js'

t.test('a series tells its median second and its worst', async (t) => {
  t.same(steadiness([100, 20, 110, 90, 105]), { medianIops: 100, worstIops: 20 })
  t.equal(steadiness([]), null, 'a client that does not tell second by second')
})

t.test('the CPU time of a process whose name has blanks and brackets', async (t) => {
  const fields = statFields('42 (a) b (c) S 1 42 42 0 -1 0 11 12 13 14 700 300 0 0')
  t.equal(fields[1], '1', 'its parent')
  t.same([fields[11], fields[12]], ['700', '300'], 'user and system time')
})

t.test('what the machine\'s CPUs did, waiting and interrupts left out', async (t) => {
  t.equal(busySeconds('cpu  100 20 30 4000 500 60 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n'), 1.58, 'user, nice, system and steal')
})
