/**
 * Several disks of one VM after the loss of all logs: which of their journals to apply, so that all of them are the disks
 * as of one instant.
 *
 * In a common round every disk's cut ends at the same instant, and none is applied before all of them are whole in their
 * journals; the next round begins when this one is on all images. So the newest rounds of the disks differ by one at the
 * most, and where they do, nobody has applied the newer one.
 */

/** A disk's newest journal header; `round` null: a cut of this disk alone. Null for the whole: there is no journal, as after a clean stop. */
export interface DiskJournal { readonly round: string | null; readonly previousRound: string | null }

export type RoundDecision =
  | { readonly kind: 'same' }
  /** Of these disks, by index, the newest journal must not be applied: others do not have that round. */
  | { readonly kind: 'discard'; readonly disks: readonly number[] }
  | { readonly kind: 'apart'; readonly reason: string }

export function decideRound(disks: readonly (DiskJournal | null)[]): RoundDecision {
  if (disks.some((disk) => disk !== null && disk.round === null)) {
    return { kind: 'apart', reason: 'one of them was last cut alone, not together with the others' }
  }
  const rounds = disks.map((disk) => disk?.round ?? null), different = [...new Set(rounds)]
  if (different.length === 1) return { kind: 'same' }
  if (different.length > 2) return { kind: 'apart', reason: 'their last cuts belong to more than two rounds' }
  for (const newer of different) {
    const others = different.find((round) => round !== newer)!
    const have = disks.flatMap((disk, i) => (disk !== null && disk.round === newer ? [{ disk, i }] : []))
    if (newer !== null && have.length > 0 && have.every(({ disk }) => disk.previousRound === others)) return { kind: 'discard', disks: have.map(({ i }) => i) }
  }
  return { kind: 'apart', reason: 'their last cuts do not follow each other' }
}
