import t from 'tap'
import { bytes, count, percent, time } from '../../lib/live/show.js'

t.test('figures as people read them', async (t) => {
  t.same([0, 7, 0.25, 999, 1000, 9949, 12_345, 1_500_000, 2e15, -2048].map(count), ['0', '7', '0.3', '999', '1.0K', '9.9K', '12K', '1.5M', '2000T', '-2.0K'])
  t.same([0, 512, 1023.9, 4096, 12_345_678, 3 * 2 ** 40].map(bytes), ['0 B', '512 B', '1.0 KiB', '4.0 KiB', '12 MiB', '3.0 TiB'])
  t.same([null, 0, 0.000004, 0.00042, 0.0012, 0.034, 1.25, 63, 600, 10_800].map(time), ['-', '0', '4.0 us', '420 us', '1.2 ms', '34 ms', '1.3 s', '63 s', '10 min', '3 h'])
  t.same([null, 0, 0.996, 1].map(percent), ['-', '0%', '100%', '100%'])
})
