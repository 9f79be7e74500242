/**
 * What a queue needs of its ring, in either format: chains are selected, taken with `advance`, completed with
 * `pushUsed` and shown to the driver together by `publish`. A ring keeps its own part of the inflight region, because
 * the order of writes to the two decides what a crash between them means.
 */
import { limits } from '../limits.js'
import { ProtocolError } from '../vhost/connection.js'
import type { ChainSource } from './chain-source.js'
import type { DirtyLog } from './dirty-log.js'
import type { MappedRegion, MemoryTable } from './guest-memory.js'

/** As of SET_VRING_ADDR. In a packed ring `avail` and `used` are the event suppression areas of driver and device. */
export interface RingAddresses {
  readonly desc: number
  readonly avail: number
  readonly used: number
  /** Guest address of `used`, for the dirty log. */
  readonly log: number
  readonly logged: boolean
}

/** What the driver acknowledged last, when its ring starts: a firmware may be followed by a system that does otherwise. */
export interface RingFormat {
  readonly packed: boolean
  readonly eventIdx: boolean
}

/** No chain: `problem` says why the ring cannot be trusted. */
export const BROKEN = -1

export interface DeviceRing {
  readonly size: number
  readonly packed: boolean
  /** Descriptors of the chain that was selected last. */
  readonly chain: ChainSource
  readonly problem: string
  /** Where the next start goes on, as SET_VRING_BASE and GET_VRING_BASE say it. */
  readonly base: number
  /** The driver has never been answered on this ring, by whatever back end. */
  readonly untouched: boolean
  /** Completions that the driver was not shown yet. */
  readonly unpublished: number
  /** Finds the ring's parts again: the memory table, or a log flag, has changed. */
  remap(table: MemoryTable, addresses?: RingAddresses): void
  /** Once, at the start: heads that an earlier back end had taken and not completed, oldest first. */
  resume(log: DirtyLog | null): number[]
  /** Chains that are known to wait; 0 means that none does, and not more than one may be known. */
  waiting(): number
  /** The same after one of `left` was taken, without looking again where that is not needed. */
  more(left: number): number
  /** Reads the next chain's descriptors, which stay in the ring. Its head, or BROKEN. */
  select(): number
  /** Reads a chain of `resume` instead. */
  reselect(head: number): void
  /** Takes the chain that was selected. */
  advance(): void
  /** Asks to be told of the next chain; true when one has arrived meanwhile. */
  arm(log: DirtyLog | null): boolean
  pushUsed(head: number, writtenBytes: number, log: DirtyLog | null): void
  /** Shows what was pushed; true when the driver wants an interrupt for it. */
  publish(log: DirtyLog | null): boolean
}

export interface Place { readonly region: MappedRegion; readonly view: DataView; readonly at: number; readonly guest: number }

/** A part of a ring in guest memory: small enough for one window, and where its alignment wants it. */
export function place(table: MemoryTable, what: string, address: number, lengthBytes: number, align: number): Place {
  const found = table.findUser(address, lengthBytes)
  if (found === null) throw new ProtocolError(`the ${what} at ${address.toString(16)} lies outside the shared memory (is the guest's memory share=on?)`)
  const { region, offset } = found
  // The offset too: views are built on it, and a region may lie at an odd place itself.
  if (address % align !== 0 || offset % align !== 0 || region.address % align !== 0) throw new ProtocolError(`the ${what} at ${address.toString(16)} is not aligned to ${align}`)
  return { region, view: region.window(offset), at: offset % limits.memoryWindowBytes, guest: region.spec.guestAddress + offset }
}
