/**
 * The border between the vhost-user device and the volume. The device parses chains and publishes completions; the
 * volume moves bytes. Neither knows the other's insides.
 */

export const REQUEST_KIND = { read: 0, write: 1, flush: 4, discard: 11, writeZeroes: 13 } as const
export type RequestKind = (typeof REQUEST_KIND)[keyof typeof REQUEST_KIND]

/** virtio-blk status bytes. */
export const STATUS = { ok: 0, ioError: 1, unsupported: 2 } as const
export type Status = (typeof STATUS)[keyof typeof STATUS]

/**
 * One guest request. Pooled by the device: valid from `submit` until `complete`, never kept longer.
 * Data buffers are `segmentCount` pieces of guest memory; their lengths add up to lengthSectors * 512.
 */
export interface GuestRequest {
  kind: RequestKind
  /** First sector; for flush 0. */
  lbaSectors: number
  lengthSectors: number
  segmentCount: number
  /** Native addresses; a piece never crosses a memory region, so it is contiguous here. */
  segmentAddress: Float64Array
  segmentBytes: Uint32Array
  /** write-zeroes with the UNMAP flag: the space may be given back. */
  unmap: boolean
  /**
   * The guest is not waiting any more (its queue was stopped at the drain's bound, or its connection is gone): its
   * memory must not be written, `complete` is still called.
   */
  dead: boolean
  /** Publishes the result. Exactly once. Completions of one event-loop turn are published together. */
  complete(status: Status): void
}

/** What the guest is shown. Fixed while a volume exists, carried by its claim. */
export interface Geometry {
  capacitySectors: number
  blockSizeBytes: number
  readOnly: boolean
  /** 20 bytes at most, GET_ID. */
  serial: string
  /** Volatile write cache shown to the guest (`durability = "flush"`). */
  writeCache: boolean
  discards: boolean
}

/** The volume as its device sees it. */
export interface GuestVolume {
  readonly geometry: Geometry
  /**
   * Reserves what the request needs (log space, staging, credits). False: leave it in the ring; `onRoom` of the
   * front end is called when asking again makes sense. Must be followed by `submit` when true.
   */
  admit(request: GuestRequest): boolean
  submit(request: GuestRequest): void
  /** End of one pass over the rings: what was submitted since may be committed as one record. */
  endBatch(): void
  /** The guest switched the write cache off or on (CONFIG_WCE). Off: every write is power-safe when acknowledged. */
  setWriteCache(on: boolean): void
  /** A ring started: the volume shall be owned here. Asynchronous; nothing is popped until `FrontEnd.onOwned`. */
  activate(frontEnd: FrontEnd): void
  /** All rings of this front end are stopped and drained. */
  deactivate(frontEnd: FrontEnd): void
}

/** Who is told how long the guest waited for each answer. */
export interface GuestTimes {
  nowMs(): number
  took(kind: RequestKind, ms: number): void
}

/** The device as its volume sees it. */
export interface FrontEnd {
  readonly name: string
  /** The volume is owned: start popping. */
  onOwned(): void
  /** The volume went elsewhere: stop popping; requests in flight are completed by the volume. */
  onLost(): void
  /** There is room again after `admit` said no. */
  onRoom(): void
  /** True while the front end has started rings. */
  readonly running: boolean
}
