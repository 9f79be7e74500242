/**
 * One layer of the index: where the newest version of each sector is, as far as one span of a log is concerned.
 * Granularity 512 bytes; `IndexLayer` is the implementation.
 */

/** What a lookup finds for a run of sectors. */
export const RUN = { absent: 0, data: 1, zero: 2 } as const
export type RunKind = (typeof RUN)[keyof typeof RUN]

/** Location of a data run: sectors (512 B) from the start of the region, below 2^32 - 2^28 (about 1.9 TiB). */
export type RegionSector = number

/** Reusable result of a lookup: gap-free, in order, neighbours merged where kind and location continue. */
export interface RunList {
  count: number
  readonly lba: Float64Array
  readonly sectors: Uint32Array
  readonly kind: Uint8Array
  readonly location: Float64Array
  push(lba: number, sectors: number, kind: RunKind, location: number): void
}

/** A layer as somebody reads it who does not write to it. */
export interface LayerView {
  /** Appends the runs of [lba, lba + sectors) to `out` (which the caller has reset). */
  lookup(lba: number, sectors: number, out: RunList): void
  /**
   * Calls `visit` for every extent, sorted by lba, neighbours merged where kind and location continue, starting at
   * the first sector >= fromLba; stops when `visit` returns false.
   */
  scan(fromLba: number, visit: (lba: number, sectors: number, kind: RunKind, location: RegionSector) => boolean): void
}

export interface Layer extends LayerView {
  /** Sectors with data or zero in this layer. */
  readonly dirtySectors: number
  readonly empty: boolean
  /** The newest version of these sectors is data at `location` (sectors from the start of the region). */
  putData(lba: number, sectors: number, location: RegionSector): void
  putZero(lba: number, sectors: number): void
}
