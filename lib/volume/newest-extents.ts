/**
 * What a cut of several levels writes: of each sector only the newest version in the cut (R16). An earlier owner may have retired a
 * newer level than the oldest one here, and not everybody knows: if an older version were written first, and the host died then, a
 * takeover by who knows that base would read the old version from the backing, with all logs gone.
 */
import type { Extents } from '../ports/clean.js'

/** Oldest level first, as given; each sorted by place. */
export function newestOnly(levels: readonly Extents[]): Extents[] {
  const out: Extents[] = []
  // From, to, from, to: sorted and apart.
  let newer: readonly number[] = []
  for (let i = levels.length - 1; i >= 0; i--) {
    out.unshift(newer.length === 0 ? levels[i]! : outside(levels[i]!, newer))
    if (i > 0) newer = joined(newer, levels[i]!)
  }
  return out
}

function outside(level: Extents, newer: readonly number[]): Extents {
  const left: Extents = { local: level.local, lba: [], sectors: [], kind: [], location: [] }
  const keep = (i: number, from: number, to: number): void => {
    if (from >= to) return
    left.lba.push(from)
    left.sectors.push(to - from)
    left.kind.push(level.kind[i]!)
    left.location.push(level.location[i]! + from - level.lba[i]!)
  }
  let at = 0
  for (let i = 0; i < level.lba.length; i++) {
    let from = level.lba[i]!
    const end = from + level.sectors[i]!
    while (at < newer.length && newer[at + 1]! <= from) at += 2
    for (let k = at; k < newer.length && newer[k]! < end; k += 2) {
      keep(i, from, newer[k]!)
      from = newer[k + 1]!
    }
    keep(i, from, end)
  }
  return left
}

function joined(spans: readonly number[], level: Extents): number[] {
  const all: number[] = []
  const add = (from: number, to: number): void => {
    if (all.length > 0 && from <= all.at(-1)!) all[all.length - 1] = Math.max(all.at(-1)!, to)
    else all.push(from, to)
  }
  let s = 0
  for (let i = 0; i < level.lba.length; i++) {
    for (; s < spans.length && spans[s]! <= level.lba[i]!; s += 2) add(spans[s]!, spans[s + 1]!)
    add(level.lba[i]!, level.lba[i]! + level.sectors[i]!)
  }
  for (; s < spans.length; s += 2) add(spans[s]!, spans[s + 1]!)
  return all
}
