/**
 * Asynchronous block I/O as the data path uses it: submit now, one call back later, no promise and no closure per
 * request. Addresses are native (guest memory or our own aligned memory), lengths and offsets bytes.
 */

import type { Epoch, Won } from '../core/units.js'

export interface CompletionTarget {
  /** `result` is the number of bytes (0 for flush, zero and trim) or a negative errno. */
  complete(token: number, result: number): void
}

/** A file or block device opened O_DIRECT and driven by the ring. */
export interface BlockFile {
  readonly path: string
  readonly sizeBytes: number
  /** Memory, offset and length alignment that O_DIRECT asks for here: 512 or 4096. */
  readonly alignmentBytes: number
  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void
  /** `durable`: RWF_DSYNC, the write is power-safe when it completes. */
  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void
  /** fdatasync. */
  flush(target: CompletionTarget, token: number): void
  close(): void
}

/** The shared storage under a volume. */
export interface Backing extends BlockFile {
  readonly readOnly: boolean
  /** False where holes cannot be punched: DISCARD is then not offered to the guest. */
  readonly discards: boolean
  /** Makes the range read as zeros; `unmap` allows it to give the space back. */
  zero(offsetBytes: number, lengthBytes: number, unmap: boolean, target: CompletionTarget, token: number): void
  /** Writes and zeroings submitted and not completed. `quiet` in the ownership protocol is about this number. */
  readonly outstandingWrites: number
  /** Raised by every error of a write or flush: a flush vouches only for writes of the same generation (R18). */
  readonly errorGeneration: number
  /** Looks at the size again, which an administrator may have changed; `sizeBytes` follows. */
  refreshSize(): void
}

/** Which cut a journal slot holds. */
export interface JournalCut {
  /** UUID. */
  readonly volume: string
  readonly epoch: Epoch
  readonly base: Won
  readonly cut: Won
  /** The common cut of a VM's disks that it belongs to; null: it is of this disk alone. */
  readonly round: string | null
}

/**
 * Keeps a cut whole before it is applied to the backing, so that the backing together with its journal is at every
 * instant exactly the disk as of some cut, whatever happens to the logs (order = "journal").
 */
export interface CutJournal {
  /** Writes under way; they count for `quiet` like those of the backing. */
  readonly outstandingWrites: number
  /** The newest cut that may not be on the backing yet, as far as the journal says; null when there is none. */
  pending(): Promise<JournalCut | null>
  /** Begins a cut in the slot that is not needed any more. */
  begin(cut: JournalCut): Promise<void>
  /** Data in the order in which it is to be applied; `address` is aligned, its memory may be written up to the next block. */
  addData(lba: number, lengthSectors: number, memory: AlignedBytes): Promise<void>
  addZero(lba: number, lengthSectors: number): void
  /** All data of a cut at once: `memory` holds it as the slot shall, each group from the next whole block on. */
  addImage(memory: AlignedBytes, lengthBytes: number, groups: JournalGroups): Promise<void>
  /** Everything of the cut is power-safe in the journal when this resolves: now it may be applied. */
  commit(): Promise<void>
  /** The committed cut belongs to no common round after all, durable when it resolves: before it is applied. */
  leaveRound(): Promise<void>
  /** The cut is on the backing, flushed. A mark that is lost means that it is applied once more. */
  retired(): void
  /** Another host may write to it from now on: nothing known of it counts any more. */
  forget(): Promise<void>
  /** Nothing is left to apply: a clean stop leaves no journal. */
  remove(): Promise<void>
}

/** First sector, sectors, and byte in memory of each; -1 there: zeros. */
export interface JournalGroups { readonly lba: readonly number[]; readonly sectors: readonly number[]; readonly at: readonly number[] }

/** Native memory with a view on it. */
export interface AlignedBytes { readonly address: number; readonly bytes: Uint8Array }
