/**
 * Where a chain's descriptors are read: a table whose entries name their successor (split), or a run of entries one
 * behind the other (packed). Both begin with {u64 address, u32 length}; then {u16 flags, u16 next} or {u16 id, u16 flags}.
 */
export const DESC = { bytes: 16, address: 0, length: 8, splitFlags: 12, splitNext: 14, packedId: 12, packedFlags: 14 } as const
export const DESC_FLAG = { next: 1, write: 2, indirect: 4 } as const

/** One for a ring, filled anew for each chain. */
export class ChainSource {
  /** Of the entries, and of those in indirect tables. */
  readonly packed: boolean
  view: DataView
  /** Byte position of the first entry in `view`. */
  at: number
  /** Entries that there are; all of them belong to the chain when it is packed. */
  limit: number
  /** The entry that the chain begins with. */
  first = 0

  constructor(packed: boolean, view: DataView, at: number, limit: number) {
    this.packed = packed
    this.view = view
    this.at = at
    this.limit = limit
  }
}
