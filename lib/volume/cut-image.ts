/**
 * The data of a cut in memory, in the order of the guest's disk. It gets there while the cut's records are read through
 * and checked, which has to be done anyway: nothing is read twice, and what is journaled and written to the backing is
 * what was checked. Neighbours on the disk are neighbours here, so each group of them is one write.
 */
import { GATHER_CELLS, native } from 'vhost-user-ts-bindings'
import type { RecordHeader } from '../core/record.js'
import { RUN } from '../core/layer.js'
import { BLOCK_BYTES, SECTOR_BYTES, roundUp } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { limits } from '../limits.js'
import type { Extents } from '../ports/clean.js'
import { groupEnd } from './extent-groups.js'

export class CutImage {
  readonly #extents: Extents
  /** By extent: its byte in memory; nothing for zeros. */
  readonly #place: Float64Array
  /** Extents with data, by their place in the region. */
  readonly #byLocation: Uint32Array
  readonly #copies = new Float64Array(GATHER_CELLS * limits.recordEntriesMax)
  #memory: AlignedMemory | null = null
  #missingSectors = 0
  /** Groups: first sector on the guest's disk, sectors, and byte in memory or -1 for zeros. */
  readonly lba: number[] = []
  readonly sectors: number[] = []
  readonly at: number[] = []
  /** Of memory; each group begins with a block of its own. */
  readonly lengthBytes: number

  /** Data of `extents` is in this host's region. */
  constructor(extents: Extents) {
    this.#extents = extents
    this.#place = new Float64Array(extents.lba.length)
    let end = 0
    for (let i = 0; i < extents.lba.length;) {
      const next = groupEnd(extents, i), zero = extents.kind[i] === RUN.zero
      this.lba.push(extents.lba[i]!)
      this.at.push(zero ? -1 : end)
      let sectors = 0
      for (; i < next; i++) {
        this.#place[i] = end + sectors * SECTOR_BYTES
        sectors += extents.sectors[i]!
      }
      this.sectors.push(sectors)
      if (zero) continue
      this.#missingSectors += sectors
      end += roundUp(sectors * SECTOR_BYTES, BLOCK_BYTES)
    }
    this.lengthBytes = end
    const { kind, location } = extents, data: number[] = []
    for (let i = 0; i < kind.length; i++) if (kind[i] !== RUN.zero) data.push(i)
    this.#byLocation = Uint32Array.from(data).sort((a, b) => location[a]! - location[b]!)
  }

  allocate(): void { this.#memory = new AlignedMemory(Math.max(BLOCK_BYTES, this.lengthBytes)) }

  get memory(): AlignedMemory { return this.#memory! }
  /** Every extent was in a record that was read. */
  get whole(): boolean { return this.#missingSectors === 0 }

  /** A record was read to `address` and is good: what counts of it is taken. */
  readonly take = (header: RecordHeader, offsetBytes: number, address: number): void => {
    const { location, sectors } = this.#extents, end = (offsetBytes + header.lengthBytes) / SECTOR_BYTES
    let copies = 0
    for (let i = this.#firstAt(offsetBytes / SECTOR_BYTES); i < this.#byLocation.length; i++) {
      const extent = this.#byLocation[i]!, from = location[extent]!
      if (from >= end) break
      const cell = copies++ * GATHER_CELLS
      this.#copies[cell] = address + from * SECTOR_BYTES - offsetBytes
      this.#copies[cell + 1] = this.memory.address + this.#place[extent]!
      this.#copies[cell + 2] = sectors[extent]! * SECTOR_BYTES
      this.#missingSectors -= sectors[extent]!
      if (copies === limits.recordEntriesMax) { native.copy(this.#copies, copies); copies = 0 }
    }
    if (copies > 0) native.copy(this.#copies, copies)
  }

  /** Index of the first extent at or behind this sector of the region. */
  #firstAt(sector: number): number {
    const { location } = this.#extents
    let low = 0, high = this.#byLocation.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (location[this.#byLocation[middle]!]! < sector) low = middle + 1
      else high = middle
    }
    return low
  }

  free(): void {
    this.#memory?.free()
    this.#memory = null
  }
}
