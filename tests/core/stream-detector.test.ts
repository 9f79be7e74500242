import t from 'tap'
import { StreamDetector } from '../../lib/core/stream-detector.js'

t.test('a stream is long when it has read so much, not before', async (t) => {
  const detector = new StreamDetector(64)
  const seen = Array.from({ length: 12 }, (_, i) => detector.read(1000 + i * 8, 8))
  t.same(seen, [...Array<boolean>(7).fill(false), ...Array<boolean>(5).fill(true)])
  t.notOk(detector.read(5000, 8), 'a read elsewhere')
  t.ok(detector.read(1096, 8), 'and the stream goes on')
})

t.test('sixteen streams are told apart, and random reads between them do not end them soon', async (t) => {
  const detector = new StreamDetector(64)
  for (let i = 0; i < 8; i++) for (let stream = 0; stream < 12; stream++) t.equal(detector.read(stream * 100_000 + i * 8, 8), i === 7)
  detector.read(77, 8)
  t.ok(detector.read(5 * 100_000 + 64, 8))
})
