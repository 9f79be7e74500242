import t from 'tap'
import { judged } from '../../lib/doctor/region.js'

t.test('a disk is judged by its median, so that one slow write does not count', async (t) => {
  t.match(judged([0.2, 30, 0.1]), { level: 'ok', text: 'a durable 4 KiB write takes 0.20 ms (median of 3, worst 30.00 ms)' })
  t.match(judged([5, 0.1, 4]), { level: 'warn', text: /takes 4.00 ms .*: little faster than shared storage$/, remedy: /power-loss protection/ })
})
