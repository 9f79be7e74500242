/** R16: of each sector a cut writes the newest version in it, and no other. */
import t from 'tap'
import fc from 'fast-check'
import { newestOnly } from '../../lib/volume/newest-extents.js'
import type { Extents } from '../../lib/ports/clean.js'

const SECTORS = 40

function level(spans: readonly (readonly [number, number])[], kind = 1): Extents {
  const extents: Extents = { local: true, lba: [], sectors: [], kind: [], location: [] }
  for (const [lba, sectors] of spans) { extents.lba.push(lba); extents.sectors.push(sectors); extents.kind.push(kind); extents.location.push(1000 + lba) }
  return extents
}

/** Which level writes a sector, and from where, when they are written in order; throws when one is written twice. */
function written(levels: readonly Extents[], once: boolean): string[] {
  const disk = Array<string>(SECTORS).fill('')
  levels.forEach((extents, n) => extents.lba.forEach((lba, i) => {
    for (let s = 0; s < extents.sectors[i]!; s++) {
      if (once && disk[lba + s] !== '') throw new Error(`sector ${lba + s} is written twice`)
      disk[lba + s] = `${n}:${extents.location[i]! + s}:${extents.kind[i]}`
    }
  }))
  return disk
}

t.test('R16: an older level loses what a newer one has: its head, its middle, its tail, all of it', async (t) => {
  const [old, now] = newestOnly([level([[0, 4], [8, 8], [20, 4], [30, 4]]), level([[2, 4], [10, 2], [19, 6]])])
  t.match(old, { lba: [0, 8, 12, 30], sectors: [2, 2, 4, 4], location: [1000, 1008, 1012, 1030] })
  t.match(now, { lba: [2, 10, 19], sectors: [4, 2, 6] }, 'the newest is whole')
})

t.test('R16: no sector is written twice, and each gets what writing the levels in order would leave', async (t) => {
  const spans = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 9 })), { maxLength: 6 }).map((parts) => {
    const out: [number, number][] = []
    let at = 0
    for (const [gap, sectors] of parts) { if (at + gap + sectors > SECTORS) break; out.push([at + gap, sectors]); at += gap + sectors }
    return out
  })
  fc.assert(fc.property(fc.array(fc.tuple(spans, fc.integer({ min: 1, max: 2 })), { minLength: 1, maxLength: 5 }), (levels) => {
    const all = levels.map(([s, kind]) => level(s, kind))
    t.same(written(newestOnly(all), true), written(all, false))
  }), { numRuns: 300 })
})
