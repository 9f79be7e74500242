/** The region: opened, formatted, its durable facts saved, its logs found again. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, existsSync, ftruncateSync, openSync, rmSync, statSync, statfsSync } from 'node:fs'
import { assert } from '../core/assert.js'
import { BlockSums } from '../core/block-sums.js'
import { EXIT, Failure } from '../core/failure.js'
import { epoch as toEpoch, won as toWon, type Epoch, type Won } from '../core/units.js'
import { openBlockFile, type RingBlockFile } from '../io/block-file.js'
import { ofdLock } from '../io/libc.js'
import { AlignedMemory } from '../io/memory.js'
import { IoError, allEnded, operation } from '../io/operation.js'
import type { IoRing } from '../io/ring.js'
import { limits } from '../limits.js'
import type { CompletionTarget } from '../ports/io.js'
import type { CopyStart, Region, RegionLog, VolumeState } from '../ports/region.js'
import { crc } from '../io/crc.js'
import { REGION_BYTES_MAX, SEGMENT_HEADER_BYTES, encodeSegmentHeader, regionMinBytes, segmentOffset, type CheckpointPlace, type SegmentHeader, type Superblock, type VolumeEntry } from './layout.js'
import { SegmentedLog } from './region-log.js'
import { checkUnreadable, groupLogs, logKey, lostBefore, readSegmentHeaders, scanLog, type FoundLog } from './scan.js'
import { SegmentPool } from './segment-pool.js'
import { newestSlot, readSlots } from './slots.js'
import type { WalkOptions } from './walk.js'
import { SuperblockWriter } from './superblock-writer.js'

export interface RegionOptions {
  readonly host: string
  /** Needed only when the region has to be created. */
  readonly sizeBytes: number | null
  readonly segmentBytes: number
  readonly progress: (doneBytes: number, totalBytes: number) => void
  /** Of this machine since it was started, 32 hexadecimal digits; absent: nothing is said of losses of power. */
  readonly bootId?: string
  /** Segments with a summary are believed and not read. */
  readonly trustSummaries?: boolean
}

/** Opens the region, creating it where there is none. Whatever is not clearly ours is refused and not touched. */
export async function openRegion(ring: IoRing, path: string, options: RegionOptions): Promise<FileRegion> {
  if (!existsSync(path)) createFile(path, options)
  checkSize(path)
  const file = await openBlockFile(ring, path, { readOnly: false })
  try {
    if (!ofdLock(file.fd, 'write', 0, 1)) throw new Failure(EXIT.unsafe, `region ${path} is in use by another process; one daemon has one region`)
    const superblock = newestSlot(await readSlots(file), path) ?? await format(file, path, options)
    if (superblock.host !== options.host) {
      throw new Failure(EXIT.config, `region ${path} belongs to host "${superblock.host}", and this is "${options.host}"; give each host a region of its own (nothing was changed)`)
    }
    const need = segmentOffset(superblock.segmentCount, superblock.segmentBytes)
    if (file.sizeBytes < need) {
      throw new Failure(EXIT.damaged, `region ${path} has ${file.sizeBytes} bytes but its superblock says ${need}; put the missing part back (nothing was changed)`)
    }
    const region = await FileRegion.load(file, superblock, options.trustSummaries === true ? 'trust' : 'check')
    if (options.bootId !== undefined) await region.begin(options.bootId)
    return region
  } catch (error) {
    file.close()
    throw error
  }
}

function createFile(path: string, options: RegionOptions): void {
  if (options.sizeBytes === null) throw new Failure(EXIT.config, `region ${path} does not exist and no size is given; set region.size (or --cache-size) to have it created`)
  checkBytes(path, options.sizeBytes, options.segmentBytes)
  let fd: number
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
  } catch (error) {
    throw new Failure(EXIT.config, `region ${path} cannot be created: ${(error as Error).message}`, { cause: error })
  }
  const { bavail, bsize } = statfsSync(path)
  // All of it will be written: where it does not fit, its file system is not to be filled first.
  if (bavail * bsize >= options.sizeBytes) ftruncateSync(fd, options.sizeBytes)
  else rmSync(path)
  closeSync(fd)
  if (bavail * bsize < options.sizeBytes) throw doesNotFit(path, `it is to have ${options.sizeBytes} bytes, and ${bavail * bsize} are free`)
}

const doesNotFit = (path: string, why: string): Failure =>
  new Failure(EXIT.config, `region ${path} does not fit on its disk: ${why}; make room there, or choose a smaller region.size (or --cache-size)`)
const ENOSPC = 28

/** Which segments an existing region has is for its superblock to say. */
function checkSize(path: string): void {
  const status = statSync(path)
  if (status.isFile()) checkBytes(path, status.size, limits.segmentBytesMin)
}

function checkBytes(path: string, sizeBytes: number, segmentBytes: number): void {
  if (sizeBytes > REGION_BYTES_MAX) {
    throw new Failure(EXIT.config, `region ${path}: ${sizeBytes} bytes is more than the ${REGION_BYTES_MAX} that can be addressed; make it smaller (nothing was written)`)
  }
  if (sizeBytes >= regionMinBytes(segmentBytes)) return
  throw new Failure(EXIT.config, `region ${path}: ${sizeBytes} bytes is smaller than its superblocks and two segments of ${segmentBytes} bytes; ` +
    `it needs at least ${regionMinBytes(segmentBytes)} bytes (nothing was written)`)
}

/**
 * Zeros everything once: a first write into an unwritten extent is metadata, and twice as slow with a flush. The
 * superblock comes last, so an interrupted format is formatted again.
 */
async function format(file: RingBlockFile, path: string, options: RegionOptions): Promise<Superblock> {
  checkBytes(path, file.sizeBytes, options.segmentBytes)
  const segmentCount = Math.floor((file.sizeBytes - segmentOffset(0, options.segmentBytes)) / options.segmentBytes)
  const total = segmentOffset(segmentCount, options.segmentBytes)
  const chunk = 1024 * 1024
  const memory = new AlignedMemory(chunk)
  try {
    for (let at = 0; at < total; at += chunk * limits.formatDepth) {
      const writes: Promise<number>[] = []
      for (let to = at; to < Math.min(total, at + chunk * limits.formatDepth); to += chunk) {
        writes.push(operation((target) => file.write(memory.address, Math.min(chunk, total - to), to, false, target, 0)))
      }
      await allEnded(writes)
      options.progress(Math.min(total, at + chunk * limits.formatDepth), total)
    }
    await operation((target) => file.flush(target, 0))
  } catch (error) {
    throw error instanceof IoError && error.errno === ENOSPC ? doesNotFit(path, 'no space was left while it was written for the first time') : error
  } finally {
    memory.free()
  }
  const superblock: Superblock = {
    incarnation: randomBytes(16).toString('hex'), host: options.host, segmentBytes: options.segmentBytes, segmentCount, createdMs: Date.now(),
    generation: 0, volumes: new Map(), checkpoint: null, boot: null, powerLosses: 0,
  }
  const writer = new SuperblockWriter(new SegmentPool(file, superblock.incarnation, superblock.segmentBytes, segmentCount, 0, [], new BlockSums(0)), superblock)
  try {
    await writer.save(true)
  } finally {
    await writer.close()
  }
  return superblock
}

/**
 * Segments behind a torn end, which the open has freed. Their headers have to go before any segment is used again: once
 * the segments before them are somebody else's, a header left here would claim a log that has lost its beginning.
 */
const behindEnds = (headers: readonly SegmentHeader[], found: readonly FoundLog[]): SegmentHeader[] => {
  const ends = new Map(found.flatMap(({ segments }) => {
    const last = segments.at(-1)?.header
    return last === undefined ? [] : [[logKey(last), last.ordinal] as const]
  }))
  return headers.filter((header) => header.deletedUse === 0 && header.ordinal > (ends.get(logKey(header)) ?? Infinity))
}

/** All zero, as before its first use. A tombstone would delete the log's good segments too. */
async function blankSegmentHeader(pool: SegmentPool, index: number): Promise<void> {
  const memory = new AlignedMemory(SEGMENT_HEADER_BYTES)
  try {
    await operation((target) => pool.write(memory.address, SEGMENT_HEADER_BYTES, segmentOffset(index, pool.segmentBytes), true, target, 0))
  } finally {
    memory.free()
  }
}

async function writeSegmentHeader(pool: SegmentPool, header: SegmentHeader): Promise<void> {
  const memory = new AlignedMemory(SEGMENT_HEADER_BYTES)
  try {
    encodeSegmentHeader(header, memory.bytes, crc)
    await operation((target) => pool.write(memory.address, SEGMENT_HEADER_BYTES, segmentOffset(header.index, pool.segmentBytes), true, target, 0))
  } finally {
    memory.free()
  }
}

const shown = ({ samples, ...state }: Omit<VolumeEntry, 'volume'>): VolumeState => samples.length === 0 ? state : { ...state, samples }

export class FileRegion implements Region {
  readonly file: RingBlockFile
  readonly #superblock: Superblock
  readonly #writer: SuperblockWriter
  readonly #pool: SegmentPool
  readonly #logs: SegmentedLog[]
  /** What is durable; the superblock's own table is ahead while a save runs. */
  readonly #durable = new Map<string, VolumeState>()
  readonly #deletions = new Set<Promise<void>>()

  private constructor(file: RingBlockFile, superblock: Superblock, pool: SegmentPool, logs: SegmentedLog[]) {
    this.file = file
    this.#superblock = superblock
    this.#writer = new SuperblockWriter(pool, superblock)
    this.#pool = pool
    this.#logs = logs
    for (const { volume, ...state } of superblock.volumes.values()) this.#durable.set(volume, shown(state))
  }

  static async load(file: RingBlockFile, sb: Superblock, summaries: WalkOptions['summaries']): Promise<FileRegion> {
    const { headers, unreadable } = await readSegmentHeaders(file, sb.incarnation, sb.segmentBytes, sb.segmentCount)
    const { logs: grouped, halfDeleted } = groupLogs(headers)
    const sums = new BlockSums(segmentOffset(sb.segmentCount, sb.segmentBytes)), blocks = (place: number, sum: number): void => { sums.set(place, sum) }
    const found = await allEnded(grouped.map(async (segments) =>
      scanLog(file, segments, sb.segmentBytes, sb.volumes.get(segments[0]!.volume)?.base ?? toWon(0), { summaries, blocks })))
    const ends = new Map(found.flatMap(({ segments }) => segments).flatMap(({ header, count }): [string, Won][] =>
      (count === 0 ? [] : [[`${header.volume} ${header.nonce}`, toWon(header.firstWon + count - 1)]])))
    await checkUnreadable(file, unreadable, sb.segmentBytes, ({ volume, nonce }) =>
      Math.max(sb.volumes.get(volume)?.base ?? 0, ends.get(`${volume} ${nonce}`) ?? 0))
    const live = found.filter(({ segments }) => {
      const last = segments.at(-1)
      const end = last === undefined ? 0 : last.header.firstWon + last.count - 1
      return segments.length > 0 && end > (sb.volumes.get(segments[0]!.header.volume)?.base ?? 0)
    })
    const taken = new Set(live.flatMap(({ segments }) => segments.map((s) => s.header.index)))
    const free = Array.from({ length: sb.segmentCount }, (_, i) => i).filter((i) => !taken.has(i))
    const lastUse = headers.reduce((most, h) => Math.max(most, h.useSequence), 0)
    const pool = new SegmentPool(file, sb.incarnation, sb.segmentBytes, sb.segmentCount, lastUse, free, sums)
    const logs = live.map(({ segments }) => {
      const log = new SegmentedLog(pool, segments[0]!.header)
      for (const segment of segments) log.adopt(segment)
      const base = sb.volumes.get(log.volume)?.base ?? toWon(0)
      const first = segments[0]!.header, lost = lostBefore(first, base)
      if (lost !== null) {
        throw new Failure(EXIT.damaged, `region ${file.path}: records ${lost} to ${first.firstWon - 1} of volume ${log.volume}, epoch ${log.epoch}, are not found: the header ` +
          'of their segment or the newest superblock is damaged; nothing was changed: keep the file, and take the volume over on another holder')
      }
      log.trim(base)
      return log
    })
    for (const header of halfDeleted) await writeSegmentHeader(pool, header)
    for (const header of behindEnds(headers, found)) await blankSegmentHeader(pool, header.index)
    return new FileRegion(file, sb, pool, logs)
  }

  /** Durable, before anything is appended: whether the power has been lost since is told by what the next open finds. */
  async begin(bootId: string): Promise<void> {
    const sb = this.#superblock
    if (sb.boot === bootId) return
    if (sb.boot !== null) sb.powerLosses++
    sb.boot = bootId
    await this.#writer.save(true)
  }

  /** What the last clean stop left of the read cache. */
  get checkpoint(): CheckpointPlace | null { return this.#superblock.checkpoint }

  /** Durable when the promise resolves. Null before anything else is written: what a checkpoint says is true of an unchanged region only. */
  async setCheckpoint(place: CheckpointPlace | null): Promise<void> {
    this.#superblock.checkpoint = place
    // In both slots: the one before would bring back a checkpoint that is not true any more.
    await this.#writer.save(true)
  }

  get path(): string { return this.file.path }
  get host(): string { return this.#superblock.host }
  get incarnation(): string { return this.#superblock.incarnation }
  get powerLosses(): number { return this.#superblock.powerLosses }
  get segmentBytes(): number { return this.#superblock.segmentBytes }
  get segmentCount(): number { return this.#superblock.segmentCount }
  get freeSegments(): number { return this.#pool.free }
  get sums(): BlockSums { return this.#pool.sums }
  /** For the read cache, which lives in what no log needs. */
  get segments(): SegmentPool { return this.#pool }
  get appendedBytes(): number { return this.#pool.appendedBytes }
  get failure(): string | null { return this.#pool.failure }

  volumeState(volume: string): VolumeState {
    return this.#durable.get(volume) ?? { sealed: toEpoch(0), base: toWon(0) }
  }

  async saveVolumeState(volume: string, state: Partial<VolumeState>): Promise<void> {
    let entry = this.#superblock.volumes.get(volume)
    if (entry === undefined) {
      if (this.#superblock.volumes.size >= limits.regionVolumesMax) throw new Failure(EXIT.unsafe, `region ${this.path} knows ${limits.regionVolumesMax} volumes already`)
      entry = { volume, sealed: toEpoch(0), base: toWon(0), samples: [] }
      this.#superblock.volumes.set(volume, entry)
    }
    const { sealed = entry.sealed, base = entry.base } = state
    assert(sealed >= entry.sealed && base >= entry.base, 'what a host has promised never goes back')
    const samples = state.base === undefined ? entry.samples : state.samples ?? []
    // Samples are taken back like a promise: the older slot must not bring back what nobody vouches for any more.
    const takenBack = base === entry.base && samples.length < entry.samples.length
    entry.sealed = sealed
    entry.base = base
    entry.samples = samples
    await this.#writer.save(sealed > this.volumeState(volume).sealed || takenBack)
    const now = this.volumeState(volume)
    this.#durable.set(volume, shown({ sealed: toEpoch(Math.max(now.sealed, sealed)), base: toWon(Math.max(now.base, base)), samples: base < now.base ? now.samples ?? [] : samples }))
  }

  logs(volume: string): readonly RegionLog[] { return this.#logs.filter((log) => log.volume === volume) }
  logBytes(volume: string): number {
    let bytes = 0
    for (const log of this.#logs) if (log.volume === volume) bytes += log.bytes
    return bytes
  }

  volumes(): readonly string[] { return [...new Set(this.#logs.map((log) => log.volume))] }

  logAt(offsetBytes: number): RegionLog | undefined {
    const index = Math.floor((offsetBytes - segmentOffset(0, this.segmentBytes)) / this.segmentBytes)
    return this.#logs.find((log) => log.segments.some((segment) => segment.index === index))
  }

  createLog(volume: string, epoch: Epoch, start: Won, nonce: string, copy?: CopyStart): RegionLog {
    assert(!this.#logs.some((log) => log.volume === volume && log.epoch === epoch), 'an epoch has one log here')
    const log = new SegmentedLog(this.#pool, { volume, epoch, start, nonce, copied: copy !== undefined }, copy)
    this.#logs.push(log)
    return log
  }

  deleteLog(log: RegionLog): void {
    const at = this.#logs.findIndex((known) => known === log)
    assert(at >= 0, 'only a known log is deleted')
    const deletion = this.#logs.splice(at, 1)[0]!.delete().finally(() => this.#deletions.delete(deletion))
    this.#deletions.add(deletion)
  }

  async deletionsDone(): Promise<void> { await Promise.all(this.#deletions) }

  pinReads(): number { return this.#pool.pin() }
  unpinReads(pin: number): void { this.#pool.unpin(pin) }
  flush(target: CompletionTarget, token: number): void { this.#pool.flush(target, token) }

  /** From here on nothing in the region can be lost with the power. */
  async #end(): Promise<void> {
    if (this.#superblock.boot === null || this.failure !== null) return
    try {
      await operation((target) => this.#pool.flush(target, 0))
      this.#superblock.boot = null
      await this.#writer.save(true)
    } catch {
      // It stays marked as open: the next start takes a restart of the machine for a loss of power, which loses nothing.
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#deletions)
    await this.#pool.close()
    await this.#end()
    await this.#writer.close()
    this.file.close()
  }
}
