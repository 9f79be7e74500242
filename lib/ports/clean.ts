/** The read cache as the volume uses it: clean blocks of 4 KiB in the region, below everything that the index knows. */
import type { Claim, Member } from '../core/claim.js'

/** Extents of a level, sorted: what one pass over it writes. `local`: data is in this host's region. */
export interface Extents {
  readonly local: boolean
  readonly lba: number[]
  readonly sectors: number[]
  readonly kind: number[]
  /** Sectors from the start of the region. */
  readonly location: number[]
}

export interface CleanBlocks {
  populating: boolean
  /** Bytes of the region that the volume's clean segments have; bytes that reads found there, and that were filled in. */
  readonly bytes: number
  readonly hitBytes: number
  readonly filledBytes: number
  /** Neighbouring runs of a range, each either here (`location` in sectors of the region) or not. */
  lookup(lba: number, sectors: number, hit: (lba: number, sectors: number, location: number) => void, miss: (lba: number, sectors: number) => void): void
  observe(lba: number, sectors: number): number
  fill(stamp: number, lba: number, sectors: number, address: number): void
  forget(lba: number, sectors: number): void
  absorb(levels: readonly Extents[]): Promise<void>
  own(self: Member, from: Claim | null, next: Claim, same: boolean): void
  released(claim: Claim): void
  drop(): void
  tick(): void
  close(): Promise<void>
}
