/** Several layers of one log as one: the newest version of each sector, whichever layer has it. */
import t from 'tap'
import { IndexLayer } from '../../lib/core/index-layer.js'
import { RUN, type LayerView } from '../../lib/core/layer.js'
import { RunBuffer } from '../../lib/core/run-list.js'
import { StackedLayer } from '../../lib/core/stacked-layer.js'
import { Random } from '../../fixtures/fuzz/random.js'

const SECTORS = 256

function bySector(layer: LayerView, lba = 0, sectors = SECTORS): string[] {
  const runs = new RunBuffer(), found: string[] = []
  layer.lookup(lba, sectors, runs)
  for (let i = 0; i < runs.count; i++) for (let n = 0; n < runs.sectors[i]!; n++) found.push(runs.kind[i] === RUN.data ? String(runs.location[i]! + n) : runs.kind[i] === RUN.zero ? 'zero' : 'absent')
  return found
}

function scanned(layer: LayerView, fromLba: number): string[] {
  const found = Array.from({ length: SECTORS }, () => 'absent')
  layer.scan(fromLba, (lba, sectors, kind, location) => {
    for (let n = 0; n < sectors; n++) found[lba + n] = kind === RUN.data ? String(location + n) : 'zero'
    return true
  })
  return found
}

t.test('what one layer would say that had all writes in their order', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed), one = new IndexLayer(), several = Array.from({ length: 1 + random.below(4) }, () => new IndexLayer())
    for (const layer of several) {
      for (let i = random.below(30); i > 0; i--) {
        const sectors = random.between(1, 20), lba = random.below(SECTORS - sectors + 1), location = random.below(100_000)
        for (const each of [one, layer]) {
          if (i % 4 === 0) each.putZero(lba, sectors)
          else each.putData(lba, sectors, location)
        }
      }
    }
    const stack = new StackedLayer([...several].reverse())
    t.same(bySector(stack), bySector(one), `seed ${seed}: looked up`)
    const from = random.below(SECTORS)
    t.same(scanned(stack, from).slice(from), bySector(one).slice(from), `seed ${seed}: scanned from ${from}`)
    t.same(bySector(stack, from, SECTORS - from), bySector(one, from, SECTORS - from), `seed ${seed}: and looked up after that`)
  }
})

t.test('a scan that ends early is taken up where it was', async (t) => {
  const layer = new IndexLayer()
  for (let i = 0; i < 20; i++) layer.putData(i * 16, 8, i * 1000)
  const pages: number[] = []
  for (let from = 0, more = true; more;) {
    let count = 0
    more = false
    layer.scan(from, (lba) => {
      if (count++ === 3) { more = true; from = lba; return false }
      pages.push(lba)
      return true
    })
    if (from === 96) layer.putData(1000, 8, 5)
  }
  t.same(pages, [...Array.from({ length: 20 }, (_, i) => i * 16), 1000])
})
