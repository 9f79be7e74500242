import t from 'tap'
import fc from 'fast-check'
import { CleanMap } from '../../lib/core/clean-map.js'

const SHAPE = { firstBlock: 100, segmentBlocks: 8, segmentCount: 6 }
const PLACES = SHAPE.segmentBlocks * SHAPE.segmentCount

const action = fc.oneof(
  fc.record({ do: fc.constant('put' as const), volume: fc.integer({ min: 0, max: 1 }), block: fc.integer({ min: 0, max: 30 }), place: fc.integer({ min: 0, max: PLACES - 1 }) }),
  fc.record({ do: fc.constant('remove' as const), volume: fc.integer({ min: 0, max: 1 }), block: fc.integer({ min: 0, max: 30 }), place: fc.constant(0) }),
  fc.record({ do: fc.constant('evict' as const), volume: fc.constant(0), block: fc.constant(0), place: fc.integer({ min: 0, max: PLACES - 1 }) }),
)

t.test('equals a table of blocks, whatever is put, moved, taken out and evicted', async (t) => {
  fc.assert(fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
    const map = new CleanMap(SHAPE), handles = [map.newHandle()]
    const model = new Map<string, number>()
    const segmentOf = (place: number): number => Math.floor(place / SHAPE.segmentBlocks)
    const forget = (keep: (key: string, place: number) => boolean): void => { for (const [key, place] of model) if (!keep(key, place)) model.delete(key) }
    map.put(handles[0]!, 0, SHAPE.firstBlock)
    handles.push(map.newHandle())
    map.evict(0)
    for (const { do: what, volume, block, place } of actions) {
      const key = `${volume} ${block}`
      if (what === 'put') {
        // A segment is one volume's: another one's blocks there are gone, and so is what this place had.
        forget((k, at) => segmentOf(at) !== segmentOf(place) || k.startsWith(`${volume} `))
        forget((_, at) => at !== place)
        map.put(handles[volume]!, block, SHAPE.firstBlock + place)
        model.set(key, place)
      } else if (what === 'remove') {
        map.remove(handles[volume]!, block)
        model.delete(key)
      } else {
        map.evict(segmentOf(place))
        forget((_, at) => segmentOf(at) !== segmentOf(place))
      }
    }
    for (let volume = 0; volume < 2; volume++) {
      for (let block = 0; block <= 30; block++) {
        const want = model.get(`${volume} ${block}`)
        const found = map.find(handles[volume]!, block)
        if (found !== (want === undefined ? -1 : SHAPE.firstBlock + want)) throw new Error(`volume ${volume}, block ${block}: ${found} instead of ${want}`)
      }
    }
    if (map.count !== model.size) throw new Error(`${map.count} blocks counted, ${model.size} are here`)
    for (let segment = 0; segment < SHAPE.segmentCount; segment++) {
      const live = [...model.values()].filter((place) => segmentOf(place) === segment).length
      if (map.live(segment) !== live) throw new Error(`segment ${segment} has ${live} blocks, ${map.live(segment)} are counted`)
    }
  }), { numRuns: 500 })
  t.pass('500 random histories')
})

t.test('all of a region fits, and evicting tells what was read', async (t) => {
  const map = new CleanMap(SHAPE), handle = map.newHandle()
  for (let i = 0; i < PLACES; i++) map.put(handle, 2 ** 32 - 2 - i, SHAPE.firstBlock + i)
  t.equal(map.count, PLACES)
  map.hit(map.find(handle, 2 ** 32 - 5))
  const hot: number[][] = []
  map.evict(0, (block, place) => hot.push([block, place]))
  t.same(hot, [[2 ** 32 - 5, SHAPE.firstBlock + 3]])
  t.equal(map.count, PLACES - SHAPE.segmentBlocks)
})

t.test('a handle whose blocks are still there is not given out again', async (t) => {
  const map = new CleanMap(SHAPE), first = map.newHandle()
  map.put(first, 1, SHAPE.firstBlock)
  for (let i = 0; i < 70_000; i++) if (map.newHandle() === first) { t.fail('given out'); return }
  t.pass('after all others')
})

t.test('its parts make the same map again', async (t) => {
  const map = new CleanMap(SHAPE), handle = map.newHandle(), again = new CleanMap(SHAPE)
  for (let i = 0; i < 20; i++) map.put(handle, i * 7, SHAPE.firstBlock + i)
  for (const [i, part] of again.parts().entries()) part.set(map.parts()[i]!)
  again.adoptParts()
  t.equal(again.count, 20)
  for (let i = 0; i < 20; i++) t.equal(again.find(handle, i * 7), SHAPE.firstBlock + i)
})
