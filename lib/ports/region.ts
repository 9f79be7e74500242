/** The host's cache region as the volume and the replica use it. Offsets are bytes from the start of the region. */
import type { BlockSums } from '../core/block-sums.js'
import type { Layer } from '../core/layer.js'
import type { BlockSample } from '../core/fingerprint.js'
import type { RecordHeader } from '../core/record.js'
import type { Epoch, Won } from '../core/units.js'
import type { BlockFile, CompletionTarget } from './io.js'

/** Durable facts about one volume on this host; the numbers only ever rise. */
export interface VolumeState {
  /** This host refuses appends and trims of epochs up to here. */
  readonly sealed: Epoch
  /** Everything up to here is on the backing, flushed. */
  readonly base: Won
  /** What the cut that ended at base wrote, at some places; absent: not known, or not vouched for any more. */
  readonly samples?: readonly BlockSample[]
}

/** A good record, its place in the region, and the address where it was read to. All are good during the call only. */
export type RecordVisitor = (header: RecordHeader, offsetBytes: number, address: number) => void

export interface RegionLog {
  /** UUID of the volume. */
  readonly volume: string
  readonly epoch: Epoch
  /** Won before the first record. */
  readonly start: Won
  /** The claim's nonce of that epoch, 32 hexadecimal digits; every record carries it. */
  readonly nonce: string
  /** Records stored without a gap; record i has won start + i. */
  readonly storedLength: number
  /** CRC of the last appended record's header, 0 for none: the next record names it. */
  readonly lastHeaderCrc: number
  /** It was let go of: nothing may be appended any more. */
  readonly deleted: boolean
  /** Region bytes this log occupies. */
  readonly bytes: number
  /** True when a record of this length can be appended now. */
  hasRoom(lengthBytes: number): boolean
  /**
   * Appends the finished record at `address` (aligned to 4096, length a multiple of 4096) and returns its offset in
   * the region. Several may be in flight; the target is called in completion order, with the length or -errno.
   * The caller checked `hasRoom`.
   */
  append(address: number, lengthBytes: number, won: Won, headerCrc: number, durable: boolean, target: CompletionTarget, token: number): number
  /** Frees the segments whose records are all at or below `base`. In memory: durable through the volume's base. */
  trim(base: Won): void
  /**
   * Index of records start+1 .. start+kept that lie above `base`, read back from the region (summaries, else headers). The one
   * recovery routine: for the owner's restart, for a replica that is asked, for the proof that index == rebuild(log).
   */
  buildLayer(kept: number, base: Won): Promise<Layer>
  /**
   * The same in parts, oldest first, each ending where a guest flush was answered: everything of a part came before
   * what follows it, and in any order among itself. There may be more parts than flushes.
   */
  buildCuts(kept: number, base: Won): Promise<LogCut[]>
  /**
   * Reads the stored records above `base`, up to `to`, and checks headers and data. Rejects with Failure(damaged), which
   * names the record and its place; a read error is passed on. `checked` hears of each good record in order; what it
   * throws ends the call.
   */
  verify(base: Won, to: Won, checked?: RecordVisitor): Promise<void>
}

/** Where a copy begins: everything up to `after` is on the backing. */
export interface CopyStart { readonly after: Won; /** Of that record; 0 without one. */ readonly previousHeaderCrc: number }

/** A part of a log: index of its records, and the won of the last one. */
export interface LogCut { readonly layer: Layer; readonly cut: Won }

export interface Region {
  readonly path: string
  readonly host: string
  /** 32 hexadecimal digits, made by format. */
  readonly incarnation: string
  /** How often the machine lost its power, or went down, with the region open. */
  readonly powerLosses: number
  readonly file: BlockFile
  readonly segmentBytes: number
  readonly segmentCount: number
  /** Not held by a log. */
  readonly freeSegments: number
  /** What reads of the region are checked against, as far as it is known. */
  readonly sums: BlockSums
  /** Bytes of records and headers appended since open: the wear this region has seen. */
  readonly appendedBytes: number
  volumeState(volume: string): VolumeState
  /**
   * Durable when the promise resolves. Lower values than the present ones are an assertion failure. A base comes with its
   * samples: without any, those that were there are gone.
   */
  saveVolumeState(volume: string, state: Partial<VolumeState>): Promise<void>
  /** Logs found at open or created since. */
  logs(volume: string): readonly RegionLog[]
  /** Region bytes that the volume's logs occupy. */
  logBytes(volume: string): number
  volumes(): readonly string[]
  /** The log that has the segment at this byte of the region, if one has. */
  logAt(offsetBytes: number): RegionLog | undefined
  /** `copy`: of a log that was made elsewhere. */
  createLog(volume: string, epoch: Epoch, start: Won, nonce: string, copy?: CopyStart): RegionLog
  /** Frees all its segments. Reads pinned before go on safely. */
  deleteLog(log: RegionLog): void
  /** Resolves when what was deleted so far stays deleted, whatever happens: only then may a log of the same name begin anew. */
  deletionsDone(): Promise<void>
  /**
   * A segment freed after `pinReads` is not reused before the pin is released (H14): take one around every read of
   * region data.
   */
  pinReads(): number
  unpinReads(pin: number): void
  /** fdatasync of the region: everything whose append completed before is power-safe afterwards. */
  flush(target: CompletionTarget, token: number): void
  close(): Promise<void>
}
