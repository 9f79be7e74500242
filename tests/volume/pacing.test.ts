/** Admission above 60 % of a region: a slope towards the rate at which space comes back. */
import t from 'tap'
import { PACED_FROM, Pacing } from '../../lib/volume/pacing.js'

const BLOCK = 4096, RATE = 10 * 1024 * 1024

/** Bytes a second that go through in ten seconds, asked for as fast as they may. */
function throughput(fill: number, drainRate: number, bytes = BLOCK): number {
  const pacing = new Pacing()
  let now = 0, passed = 0
  while (now < 10_000) {
    const wait = pacing.wait(bytes, fill, drainRate, now)
    if (wait === 0) passed += bytes
    else now += Math.ceil(wait)
  }
  return passed / 10
}

t.test('the fuller the region, the nearer to the rate at which it empties', async (t) => {
  const rates = [0.61, 0.7, 0.8, 0.9].map((fill) => throughput(fill, RATE) / RATE)
  t.same([...rates].sort((a, b) => b - a), rates, rates.map((rate) => rate.toFixed(2)).join(', '))
  t.ok(rates[0]! > 7 && rates[0]! < 8.5, 'just above it is hardly held back')
  for (const fill of [0.95, 1]) t.ok(Math.abs(throughput(fill, RATE) / RATE - 1) < 0.05, `at ${fill} it goes as fast as the region empties`)
})

t.test('a request larger than the burst goes alone and is owed', async (t) => {
  t.ok(Math.abs(throughput(0.95, RATE, 4 * 1024 * 1024) / RATE - 1) < 0.5)
})

t.test('a storage that stands still, or is not known, does not pace: only the room that is left decides', async (t) => {
  const pacing = new Pacing()
  for (const rate of [0, 1000]) t.ok(Array.from({ length: 1000 }, () => pacing.wait(BLOCK, 0.9, rate, 0)).every((wait) => wait === 0), `${rate} bytes a second`)
  t.ok(PACED_FROM < 0.9)
})
