/**
 * Guest memory. Each region is mapped once as a whole, so that io_uring and copies never see a border; JavaScript
 * sees it through windows (Node 20 stops at 4 GiB a buffer), each longer than its stride so that no small structure
 * straddles two. A table is immutable; a change makes a new one, and the old one's regions are unmapped when the last
 * request that was popped under it has ended (H58): views are detached first, so a stale one throws.
 */
import { native } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import type { RegionSpec } from '../vhost/payload.js'
import { SharedMap } from './shared-map.js'

export class MappedRegion {
  readonly spec: RegionSpec
  /** Native address of the region's first byte. */
  readonly address: number
  readonly #map: SharedMap
  readonly #windows: (DataView | undefined)[] = []
  refs = 0

  constructor(fd: number, spec: RegionSpec) {
    this.spec = spec
    // From offset 0: huge pages do not start at every offset.
    this.#map = new SharedMap(fd, spec.offsetBytes + spec.sizeBytes)
    this.address = this.#map.address + spec.offsetBytes
  }

  /** The memory was truncated under us; what was read since is zeros. */
  get poisoned(): boolean { return this.#map.poisoned }

  /** The window that holds `offset`, at offset % memoryWindowBytes of it, and at least the overlap from there on. */
  window(offset: number): DataView {
    const index = Math.floor(offset / limits.memoryWindowBytes)
    let view = this.#windows[index]
    if (view === undefined) {
      const from = index * limits.memoryWindowBytes
      const length = Math.min(this.spec.sizeBytes - from, limits.memoryWindowBytes + limits.memoryWindowOverlapBytes)
      view = new DataView(native.viewOf(this.address + from, length))
      this.#windows[index] = view
    }
    return view
  }

  release(): void {
    if (--this.refs > 0) return
    for (const view of this.#windows) if (view !== undefined) native.detach(view.buffer as ArrayBuffer)
    this.#map.close()
  }
}

export class MemoryTable {
  readonly regions: readonly MappedRegion[]
  /** One for being current, one for each request popped under it. */
  #refs = 1
  /** Results of the last `find`. */
  foundAddress = 0
  foundBytes = 0
  foundRegion: MappedRegion | null = null

  constructor(regions: readonly MappedRegion[]) {
    this.regions = regions
    for (const region of regions) region.refs++
  }

  /** Looks up a guest address; false when it lies in no region. `foundBytes` are contiguous from there. */
  find(guestAddress: number): boolean {
    for (const region of this.regions) {
      const offset = guestAddress - region.spec.guestAddress
      if (offset >= 0 && offset < region.spec.sizeBytes) {
        this.foundRegion = region
        this.foundAddress = region.address + offset
        this.foundBytes = region.spec.sizeBytes - offset
        return true
      }
    }
    return false
  }

  /** Region and offset of a front-end address, for rings. */
  findUser(userAddress: number, lengthBytes: number): { region: MappedRegion; offset: number } | null {
    for (const region of this.regions) {
      const offset = userAddress - region.spec.userAddress
      if (offset >= 0 && offset + lengthBytes <= region.spec.sizeBytes) return { region, offset }
    }
    return null
  }

  get poisoned(): boolean { return this.regions.some((region) => region.poisoned) }

  retain(): void { this.#refs++ }

  release(): void {
    if (--this.#refs > 0) return
    for (const region of this.regions) region.release()
  }
}

/** Do two regions share guest or front-end addresses? The front end must remove before it adds. */
export function overlaps(a: RegionSpec, b: RegionSpec): boolean {
  const cross = (x: number, y: number): boolean => x < y + b.sizeBytes && y < x + a.sizeBytes
  return cross(a.guestAddress, b.guestAddress) || cross(a.userAddress, b.userAddress)
}
