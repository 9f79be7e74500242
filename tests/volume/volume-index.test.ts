import t from 'tap'
import { won } from '../../lib/core/units.js'
import { SOURCE, VolumeIndex } from '../../lib/volume/volume-index.js'

const sourceOf = (index: VolumeIndex, lba: number): { source: number; location: number } => {
  let found = { source: -1, location: -1 }
  index.resolve(lba, 8, (source, _level, _lba, _sectors, location) => { found = { source, location } })
  return found
}

t.test('a cut that ends after a claim change is retired, and shows nothing old any more', async (t) => {
  const index = new VolumeIndex()
  index.active.putData(0, 8, 100)
  index.freeze(won(1))
  const cut = index.nextCut(false, won(10))!
  index.active.putData(0, 8, 200)
  index.sealOwn(1, won(2))
  t.ok(cut.levels.every((level) => index.has(level)), 'the very levels of the cut that is under way')
  t.same(sourceOf(index, 0), { source: SOURCE.local, location: 200 })
  index.retire(cut.levels)
  t.equal(index.inherited.length, 1, 'what came after it')
  index.retire(index.nextCut(false, won(10))!.levels)
  t.ok(index.empty)
  t.equal(sourceOf(index, 0).source, SOURCE.backing)
})

t.test('a log that is left to others is read from them, at its place among the levels', async (t) => {
  const index = new VolumeIndex(), holders = [{ host: 'b', incarnation: 'b'.repeat(32) }]
  index.active.putData(0, 8, 100)
  index.sealOwn(1, won(5))
  index.active.putData(8, 8, 200)
  index.sealOwn(2, won(9))
  index.leave([{ epoch: 1 as never, start: won(0), kept: 5, holders }])
  t.same(index.inherited.map(({ epoch, remote }) => [epoch, remote?.kept ?? null]), [[1, 5], [2, null]])
  t.same([sourceOf(index, 0).source, sourceOf(index, 8).source], [SOURCE.remote, SOURCE.local])
})
