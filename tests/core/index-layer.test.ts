import t from 'tap'
import fc from 'fast-check'
import { IndexLayer, REGION_SECTORS_MAX } from '../../lib/core/index-layer.js'
import { RUN } from '../../lib/core/layer.js'
import { RunBuffer } from '../../lib/core/run-list.js'
import { GUEST_SECTORS_MAX } from '../../lib/core/units.js'

/** What a sector holds: -1 zero, else a location. */
type Model = Map<number, number>

function expectEqual(layer: IndexLayer, model: Model, lba: number, sectors: number): void {
  const runs = new RunBuffer()
  layer.lookup(lba, sectors, runs)
  let at = lba
  for (let i = 0; i < runs.count; i++) {
    if (runs.lba[i] !== at) throw new Error(`gap at ${at}`)
    for (let s = 0; s < runs.sectors[i]!; s++, at++) {
      const want = model.get(at)
      const kind = want === undefined ? RUN.absent : want < 0 ? RUN.zero : RUN.data
      if (runs.kind[i] !== kind || (kind === RUN.data && runs.location[i]! + s !== want)) {
        throw new Error(`sector ${at}: kind ${runs.kind[i]} at ${runs.location[i]! + s}, wanted ${kind} at ${want}`)
      }
    }
  }
  if (at !== lba + sectors) throw new Error(`lookup ended at ${at} instead of ${lba + sectors}`)
}

const BASES = [0, 2 ** 31 - 16, 2 ** 32 - 16, 2 ** 34, GUEST_SECTORS_MAX - 160]
const operation = fc.record({
  zero: fc.boolean(), base: fc.constantFrom(...BASES), offset: fc.integer({ min: 0, max: 96 }), sectors: fc.integer({ min: 1, max: 40 }),
  location: fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: REGION_SECTORS_MAX - 64 })),
})

t.test('equals a map of sectors, at 512-byte granularity and far out (H8, H17)', async (t) => {
  fc.assert(fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
    const layer = new IndexLayer(), model: Model = new Map()
    for (const op of operations) {
      const lba = op.base + op.offset
      if (op.zero) layer.putZero(lba, op.sectors)
      else layer.putData(lba, op.sectors, op.location)
      for (let i = 0; i < op.sectors; i++) model.set(lba + i, op.zero ? -1 : op.location + i)
    }
    for (const base of BASES) expectEqual(layer, model, base, 160)
    if (layer.dirtySectors !== model.size) throw new Error(`${layer.dirtySectors} sectors counted, ${model.size} are here`)
    const scanned: Model = new Map()
    let last = -1
    layer.scan(0, (lba, sectors, kind, location) => {
      if (lba <= last) throw new Error('scan is sorted and disjoint')
      last = lba + sectors - 1
      for (let i = 0; i < sectors; i++) scanned.set(lba + i, kind === RUN.zero ? -1 : location + i)
      return true
    })
    if (scanned.size !== model.size) throw new Error(`scan saw ${scanned.size} of ${model.size} sectors`)
    for (const [sector, value] of model) if (scanned.get(sector) !== value) throw new Error(`scan: sector ${sector}`)
  }), { numRuns: 300 })
  t.pass('300 random histories')
})

t.test('a scan can be stopped and taken up again', async (t) => {
  const layer = new IndexLayer()
  for (let i = 0; i < 50; i++) layer.putData(i * 24, 8, i * 1000)
  layer.putZero(5000, 100)
  const seen: number[] = []
  for (let from = 0; ;) {
    let next = -1, n = 0
    layer.scan(from, (lba) => {
      if (n++ === 7) { next = lba; return false }
      seen.push(lba)
      return true
    })
    if (next < 0) break
    from = next
  }
  t.equal(seen.length, 51)
  t.same(seen, [...seen].sort((x, y) => x - y))
})

t.test('at most 16 bytes of RAM a block, whatever their number', async (t) => {
  const layer = new IndexLayer()
  let worst = 0
  for (let i = 0; i < 60_000; i++) {
    layer.putData(i * 56, 8, i * 8)
    if (i >= 64) worst = Math.max(worst, layer.hashBytes / (i + 1))
  }
  t.ok(worst <= 16, `${worst} bytes`)
  t.equal(layer.mixedBytes, 0)
})

t.test('blocks of single sectors take their side entries from what earlier ones gave back', async (t) => {
  const layer = new IndexLayer()
  for (let round = 0; round < 1000; round++) {
    layer.putData(3, 1, round * 16)
    layer.putData(0, 8, round * 16 + 8)
    layer.putData(9, 3, round * 16)
    layer.putZero(8, 8)
  }
  t.ok(layer.mixedBytes <= 16 * 32, `${layer.mixedBytes} bytes`)
  for (let i = 0; i < 8; i++) layer.putData(i, 1, 5000 + i)
  const runs = new RunBuffer()
  layer.lookup(0, 8, runs)
  t.same([runs.count, runs.sectors[0], runs.location[0]], [1, 8, 5000], 'eight sectors in a row are one run again')
})

t.test('a huge discard costs nothing and hides everything', async (t) => {
  const layer = new IndexLayer()
  for (let i = 0; i < 1000; i++) layer.putData(i * 8, 8, i * 8)
  const before = layer.hashBytes
  layer.putZero(0, 2 ** 33)
  t.equal(layer.hashBytes + layer.mixedBytes, before)
  t.equal(layer.dirtySectors, 2 ** 33)
  const runs = new RunBuffer()
  layer.lookup(1234, 100, runs)
  t.equal(runs.count, 1)
  t.equal(runs.kind[0], RUN.zero)
})

t.test('a location beyond what an entry can hold stops instead of wrapping (H8)', async (t) => {
  t.throws(() => new IndexLayer().putData(0, 8, REGION_SECTORS_MAX - 4), /below the marks/)
  t.throws(() => new IndexLayer().putData(GUEST_SECTORS_MAX - 4, 8, 0), /below 16 TiB/)
  t.throws(() => new IndexLayer().putZero(GUEST_SECTORS_MAX, 1), /below 16 TiB/)
})
