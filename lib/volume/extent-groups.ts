/** Extents that go out as one write. */
import { RUN } from '../core/layer.js'
import { limits } from '../limits.js'
import type { Extents } from '../ports/clean.js'

/** Of one write to the backing. */
export const MAX_SECTORS = limits.destageWriteBytesMax / 512

/** Where the group that begins with `from` ends: neighbours on the guest's disk go together, whatever their place in the region; zeros go alone. */
export function groupEnd(extents: Extents, from: number): number {
  if (extents.kind[from] === RUN.zero) return from + 1
  let end = from + 1, sectors = extents.sectors[from]!
  while (
    end < extents.lba.length && extents.kind[end] !== RUN.zero &&
    extents.lba[end] === extents.lba[end - 1]! + extents.sectors[end - 1]! &&
    sectors + extents.sectors[end]! <= MAX_SECTORS
  ) sectors += extents.sectors[end++]!
  return end
}
