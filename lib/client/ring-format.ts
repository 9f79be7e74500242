/** The driver's side of a ring in either format: chains are offered by slot, and come back by slot. */
export const CHAIN = 3
export const DESC_BYTES = 16
export const NEXT = 1, WRITE = 2
/** Of `completed`. */
export const NONE = -1

/** A request's buffers, by guest address: header, perhaps data, status. One object for all requests of a ring. */
export interface Chain {
  header: number
  headerBytes: number
  data: number
  dataBytes: number
  /** The device writes the data. */
  inward: boolean
  status: number
}

export interface RingFormat {
  /** Byte positions in the shared memory, as SET_VRING_ADDR names them. */
  readonly descAt: number
  readonly availAt: number
  readonly usedAt: number
  /** Where the device goes on, for SET_VRING_BASE: what was completed is known here, and what is in flight to its inflight region. */
  readonly base: number
  offer(slot: number, chain: Chain): void
  /** Whether the device asked to be told of the chains offered since the last call. */
  kickWanted(eventIdx: boolean): boolean
  /** The next completion's slot, whatever the device says that is; NONE where there is no more. */
  completed(): number
  /** Asks to be told of the next completion; true when one has arrived meanwhile. */
  arm(eventIdx: boolean): boolean
}

export const round = (value: number, to: number): number => Math.ceil(value / to) * to
