/** Copies that differ, are short, go away or are trimmed while they are compared. */
import t from 'tap'
import { EXIT, Failure } from '../../lib/core/failure.js'
import { epoch, won, type Epoch } from '../../lib/core/units.js'
import { crc } from '../../lib/io/crc.js'
import type { CheckedPiece, DamagedRecord, PieceStart } from '../../lib/region/scrub.js'
import { CopyComparison, type Comparison } from '../../lib/replica/compare.js'
import { Pace, type LogCopy } from '../../lib/replica/scrub.js'

/** Records of 8 KiB whose headers have these checksums; a piece has `size` of them at most. */
class Copy implements LogCopy {
  readonly host: string
  readonly headers: number[]
  base = 0
  size = 4
  rotten: number | null = null
  /** Before each answer. */
  before: (from: PieceStart) => void = () => undefined
  constructor(host: string, count: number) {
    this.host = host
    this.headers = Array.from({ length: count }, (_, i) => i + 100)
  }

  check(_volume: string, _epoch: Epoch, from: PieceStart): Promise<CheckedPiece> {
    try { this.before(from) } catch (error) { return Promise.reject(error as Error) }
    const first = Math.max(from.after, this.base), end = Math.min(from.to, this.headers.length, first + this.size)
    let digest = from.digest, next = first, damage: DamagedRecord | null = null
    while (next < end && damage === null) {
      if (++next === this.rotten) { damage = { record: won(next), offsetBytes: 4096, what: 'rot' }; break }
      digest = crc(new Uint8Array(Uint32Array.of(this.headers[next - 1]!).buffer), digest)
    }
    const records = Math.max(0, next - first - (damage === null ? 0 : 1))
    return Promise.resolve({ next: won(next), records, bytes: records * 8192, digest, previous: 0, damage, base: won(this.base), stored: won(this.headers.length) })
  }
}

const compare = (...copies: readonly Copy[]): Promise<Comparison> =>
  new CopyComparison(copies, { volume: 'v', epoch: epoch(3), after: won(0), to: won(20) }).run(new Pace(2 ** 50, new AbortController().signal), () => undefined)
const three = (): [Copy, Copy, Copy] => [new Copy('a', 20), new Copy('b', 20), new Copy('c', 20)]

t.test('the same, however each of them is cut', async (t) => {
  const [a, b, c] = three()
  a.size = 7
  b.size = 2
  t.same(await compare(a, b, c), { records: 20, bytes: 20 * 8192, differences: [], problems: [] })
})

t.test('the first difference of each host, at whatever place', async (t) => {
  for (const at of [1, 4, 5, 13, 20]) {
    const [a, b, c] = three()
    c.headers[at - 1] = 7
    c.headers[19] = 8
    const { records, differences } = await compare(a, b, c)
    t.same(differences, [{ host: 'c', epoch: 3, record: at, offsetBytes: null, what: 'its record is whole, but another one than on a' }])
    t.equal(records, 20, 'the others are compared to the end')
  }
})

t.test('damage: of a copy, of the one that is compared with, and a difference before damage', async (t) => {
  const [a, b, c] = three()
  b.rotten = 6
  t.same((await compare(a, b, c)).differences, [{ host: 'b', epoch: 3, record: 6, offsetBytes: 4096, what: 'rot' }])
  b.headers[4] = 7
  t.match((await compare(a, b, c)).differences, [{ host: 'b', record: 5, what: /whole, but another/ }])
  b.headers[4] = 104
  a.rotten = 3
  const { differences, records } = await compare(a, b, c)
  t.match(differences, [{ host: 'a', record: 3 }, { host: 'b', record: 6 }])
  t.equal(records, 20, 'what is left is still read to its end')
})

t.test('a copy that has less, or nothing', async (t) => {
  const short = new Copy('b', 9), empty = new Copy('c', 0), [a] = three()
  t.match((await compare(a, short, empty)).differences, [
    { host: 'c', record: null, what: 'it has no log of epoch 3' }, { host: 'b', record: null, what: 'it has its records only up to 9' },
  ])
  t.match((await compare(short, a)).differences, [{ host: 'b', record: null }], 'also when it is the first')
})

t.test('a host that goes away; a bug is not hidden', async (t) => {
  const [a, b, c] = three()
  b.before = ({ after }) => { if (after >= 8) throw new Failure(EXIT.unreachable, 'b is gone') }
  t.match(await compare(a, b, c), { records: 20, differences: { length: 0 }, problems: [{ host: 'b', what: 'b is gone' }] })
  b.before = () => { throw new TypeError('a bug') }
  await t.rejects(compare(a, b, c), { message: 'a bug' })
})

t.test('trimmed meanwhile, at any of them: what is left is compared', async (t) => {
  for (const which of [0, 1, 2]) {
    const copies = three()
    copies[which]!.before = ({ after }) => { if (after >= 4) copies[which]!.base = 10 }
    copies[2].headers[6] = 7
    const { records, differences } = await compare(...copies)
    t.ok(records >= 10 && records <= 16, `${records} records`)
    t.same(differences.filter(({ record }) => record !== 7), [], 'a difference that was trimmed is none, or was found before')
  }
  const copies = three()
  for (const copy of copies) copy.base = 20
  t.same(await compare(...copies), { records: 0, bytes: 0, differences: [], problems: [] })
})
