import t from 'tap'
import { Expected } from '../../lib/replay/expected.js'
import { stampSectors } from '../../lib/replay/stamp.js'
import { parseTrace } from '../../lib/replay/trace.js'

const trace = parseTrace('# holdfast-trace 1\n# capacity 4096\n# seed 9\n0 w 8 4\n1 w 10 4\n2 d 11 1\n', 'x')

t.test('every sector of every write is another one', async (t) => {
  const seen = new Set<string>(), data = new Uint8Array(64 * 512)
  for (const [seed, index] of [[1, 0], [1, 1], [2, 0]] as const) {
    for (const lba of [0, 32, 2 ** 33]) {
      stampSectors(data, seed, index, lba, 32)
      for (let s = 0; s < 32; s++) seen.add(Buffer.from(data.subarray(s * 512, (s + 1) * 512)).toString('latin1'))
    }
  }
  t.equal(seen.size, 3 * 3 * 32)
})

t.test('the newest write counts, zeros after a discard, and a wrong sector says whose it is', async (t) => {
  const expected = new Expected(trace, true), data = new Uint8Array(8 * 512)
  trace.operations.forEach((o, i) => expected.apply(o, i))
  stampSectors(data, 9, 0, 8, 2)
  stampSectors(data.subarray(2 * 512), 9, 1, 10, 4)
  data.fill(0, 3 * 512, 4 * 512)
  t.equal(expected.check(8, data), null)
  stampSectors(data.subarray(2 * 512), 9, 0, 10, 1)
  t.equal(expected.check(8, data), 'sector 10 should hold what operation 2 wrote and holds bytes that name seed 9, operation 1, sector 10')
  stampSectors(data.subarray(2 * 512), 9, 1, 10, 1)
  data[3 * 512 + 511] = 1
  t.match(expected.check(8, data), /sector 11 should hold zeros/)
})

t.test('sectors that were never written are judged only on a fresh disk', async (t) => {
  const data = new Uint8Array(512).fill(5)
  t.equal(new Expected(trace, false).check(0, data), null)
  t.match(new Expected(trace, true).check(0, data), /sector 0 should hold zeros/)
})

t.test('a disk that is too large to be modelled is refused', async (t) => {
  t.throws(() => new Expected({ ...trace, capacitySectors: 2 ** 29 }, true), { message: /too large to be verified/ })
})
