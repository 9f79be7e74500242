/**
 * The read path: one guest read is stitched from the own log, inherited logs here or on other hosts, clean blocks and
 * the backing, at 512-byte granularity. Only reads of the region go straight into guest memory; what comes from the
 * backing or a peer lands in our memory first, because an abandoned one must not write to a guest that was reset or
 * resumed elsewhere.
 *
 * Whatever comes from the region is checked against the sum of its block. In guest memory a wrong sum proves nothing,
 * because the guest may have touched it: the block is read again into our own memory before it is called rotten. A
 * rotten clean block is on the backing as well; for a rotten dirty one the volume may know another holder.
 */
import { native } from 'vhost-user-ts-bindings'
import { BLOCK_BYTES, SECTORS_PER_BLOCK, roundDown, roundUp } from '../core/units.js'
import { limits } from '../limits.js'
import type { AlignedMemory } from '../io/memory.js'
import { STATUS, type GuestRequest } from '../ports/guest.js'
import type { CleanBlocks } from '../ports/clean.js'
import type { Backing, BlockFile, CompletionTarget } from '../ports/io.js'
import type { Region } from '../ports/region.js'
import { BouncePool } from '../io/bounce.js'
import type { Counters } from './counters.js'
import { CopyTable, alignedInGuest, copyToGuest, eachBlockInGuest } from './guest-bytes.js'
import type { RemoteReader, RemoteRuns } from './remote-reader.js'
import { SOURCE, type Level, type RunVisitor, type Source, type VolumeIndex } from './volume-index.js'

export interface ReadShell {
  readonly region: Region
  readonly backing: Backing
  readonly index: VolumeIndex
  /** Null without a read cache. */
  readonly clean: CleanBlocks | null
  readonly remote: RemoteReader
  readonly counters: Counters
  nowMs(): number
  /** Write-through: reads of what is not flushed yet wait for the backing (R15). */
  mustWait(request: GuestRequest): boolean
  /** This host may have lost the volume: what a read found may be older than what its next owner has acknowledged. */
  mayAnswer(): boolean
  /**
   * A block of the own region, in a log, is not what was written. 'wait': the log is on its way out of the claim, and
   * what other holders have of it will be found by looking again at the next `recheck`. 'again': look at once.
   */
  rotten(offsetBytes: number): 'again' | 'wait' | 'fail'
  warn(message: string): void
}

interface Job { readonly request: GuestRequest; /** For the read cache. */ readonly stamp: number; pieces: number; failed: boolean }

/** One run of a request from one source, at most readBytesMax long. */
interface Piece {
  readonly job: Job
  readonly source: Source
  readonly level: Level | null
  readonly lba: number
  readonly sectors: number
  /** Region sector, for local runs. */
  readonly location: number
  startedMs: number
  bounce: AlignedMemory | null
  /** Bytes of the bounce buffer before the run's first byte. */
  headBytes: number
  pin: number
  /** Ring operations outstanding. */
  operations: number
  failed: boolean
  /** It did not match its sums in guest memory: this time it goes through ours. */
  suspect: boolean
}

const PIECE_SECTORS = limits.readBytesMax / 512

export class ReadPath implements CompletionTarget {
  readonly #shell: ReadShell
  readonly #bounces = new BouncePool(limits.bouncesMax)
  readonly #copies = new CopyTable()
  /** Pieces with ring operations under way, by token. */
  readonly #running: (Piece | undefined)[] = []
  readonly #freeTokens: number[] = []
  /** Pieces that wait for a bounce buffer. */
  #waiting: Piece[] = []
  /** Reads that wait for an unflushed write (write-through), or for this host to know that the volume is still its own. */
  #deferred: GuestRequest[] = []
  /** Pieces of rotten blocks, until the claim names only other holders. */
  #rotten: Piece[] = []
  #collected: Piece[] = []
  #collecting: Job | null = null
  /** Of the pieces that are collected now. One look at the clock does for all requests of a pass over the rings. */
  #startedMs = 0
  #inPass = false
  #jobs = 0

  constructor(shell: ReadShell) { this.#shell = shell }

  submit(request: GuestRequest): void {
    if (this.#shell.mustWait(request)) { this.#deferred.push(request); return }
    const stamp = this.#shell.clean?.observe(request.lbaSectors, request.lengthSectors) ?? -1
    const job: Job = { request, stamp, pieces: 1, failed: false }
    this.#jobs++
    this.#collecting = job
    if (!this.#inPass) this.#startedMs = this.#shell.nowMs()
    this.#inPass = true
    this.#shell.index.resolve(request.lbaSectors, request.lengthSectors, this.#collect)
    this.#startCollected()
    this.#release(job)
  }

  endPass(): void { this.#inPass = false }

  /** The backing was flushed, or the claim has changed: reads that waited for it look again. */
  recheck(): void {
    this.forgetGivenUp()
    this.endPass()
    for (const request of this.#deferred.splice(0)) this.submit(request)
    for (const piece of this.#rotten.splice(0)) this.#again(piece)
    this.endPass()
  }

  /** What waits, and nobody waits for. */
  forgetGivenUp(): void {
    const gone = this.#deferred.filter((request) => request.dead)
    if (gone.length === 0) return
    this.#deferred = this.#deferred.filter((request) => !request.dead)
    for (const request of gone) request.complete(STATUS.ioError)
  }

  #again(piece: Piece): void {
    this.#collecting = piece.job
    this.#startedMs = this.#shell.nowMs()
    this.#shell.index.resolve(piece.lba, piece.sectors, this.#collect)
    this.#startCollected()
    this.#done(piece)
  }

  readonly #collect: RunVisitor = (source, level, lba, sectors, location) => {
    const job = this.#collecting!
    for (let done = 0; done < sectors; done += PIECE_SECTORS) {
      job.pieces++
      this.#collected.push({
        job, source, level, lba: lba + done, sectors: Math.min(PIECE_SECTORS, sectors - done),
        location: location + done, startedMs: this.#startedMs, bounce: null, headBytes: 0, pin: -1, operations: 0, failed: false, suspect: false,
      })
    }
  }

  /** Lookups must not nest, so runs are collected first and started afterwards. */
  #startCollected(): void {
    const pieces = this.#collected
    this.#collected = []
    for (const piece of pieces) this.#start(piece)
  }

  #start(piece: Piece): void {
    const inRegion = isInRegion(piece)
    if (inRegion && piece.pin < 0) piece.pin = this.#shell.region.pinReads()
    if (piece.source === SOURCE.zero) { this.#zero(piece); return }
    if (inRegion && !piece.suspect && this.#direct(piece)) return
    const bounce = this.#bounces.take()
    if (bounce === undefined) { this.#waiting.push(piece); return }
    piece.bounce = bounce
    if (piece.source === SOURCE.remote) { void this.#readRemote(piece); return }
    if (inRegion) this.#readBounced(piece, this.#shell.region.file, piece.location * 512, BLOCK_BYTES)
    else this.#readBounced(piece, this.#shell.backing, piece.lba * 512, this.#shell.backing.alignmentBytes)
  }

  // --- sources -----------------------------------------------------------------------------------------------------------

  #zero(piece: Piece): void {
    const request = piece.job.request
    this.#shell.counters.measured.readFrom(SOURCE.zero, piece.sectors * 512)
    if (request.dead) { this.#done(piece); return }
    let skip = this.#offset(piece), left = piece.sectors * 512
    for (let i = 0; i < request.segmentCount && left > 0; i++) {
      const size = request.segmentBytes[i]!
      if (skip >= size) { skip -= size; continue }
      const take = Math.min(size - skip, left)
      native.zero(request.segmentAddress[i]! + skip, take)
      left -= take
      skip = 0
    }
    this.#done(piece)
  }

  /** Region to guest memory without a copy, where it is whole blocks and every piece of guest memory is one or more. */
  #direct(piece: Piece): boolean {
    const { region, counters } = this.#shell
    const request = piece.job.request
    const from = this.#offset(piece), length = piece.sectors * 512
    if (piece.location % SECTORS_PER_BLOCK !== 0 || !alignedInGuest(request, from, length, BLOCK_BYTES)) return false
    const token = this.#track(piece)
    counters.regionReadBytes += length
    let skip = from, done = 0
    for (let i = 0; i < request.segmentCount && done < length; i++) {
      const size = request.segmentBytes[i]!
      if (skip >= size) { skip -= size; continue }
      const take = Math.min(size - skip, length - done)
      piece.operations++
      region.file.read(request.segmentAddress[i]! + skip, take, piece.location * 512 + done, this, token)
      done += take
      skip = 0
    }
    return true
  }

  #readBounced(piece: Piece, file: BlockFile, offsetBytes: number, unitBytes: number): void {
    const from = roundDown(offsetBytes, unitBytes)
    const to = roundUp(offsetBytes + piece.sectors * 512, unitBytes)
    piece.headBytes = offsetBytes - from
    piece.operations++
    if (isInRegion(piece)) this.#shell.counters.regionReadBytes += to - from
    else this.#shell.counters.backingReadBytes += to - from
    file.read(piece.bounce!.address, to - from, from, this, this.#track(piece))
  }

  async #readRemote(piece: Piece): Promise<void> {
    try {
      const { index, remote } = this.#shell, level = piece.level!
      this.#fromRemote(piece, await remote.readUnless(level.remote!, piece.lba, piece.sectors, () => !index.has(level)))
    } catch (error) {
      this.#shell.warn(`read of ${piece.sectors} sectors at ${piece.lba}: ${(error as Error).message}`)
      piece.failed = true
      this.#done(piece)
    }
  }

  /** Null: the log has other holders by now, this host perhaps among them. */
  #fromRemote(piece: Piece, answer: RemoteRuns | null): void {
    this.#collecting = piece.job
    this.#startedMs = this.#shell.nowMs()
    if (answer === null) this.#shell.index.resolve(piece.lba, piece.sectors, this.#collect)
    else if (answer.trimmed) {
      // The holder has seen a base that hides this log: look again, below it.
      this.#shell.index.resolveBelow(piece.level!, piece.lba, piece.sectors, this.#collect)
    } else {
      this.#shell.counters.remoteRead(answer.host, answer.raw.length)
      this.#measure(piece, this.#startedMs, answer.raw.length)
      piece.bounce!.bytes.set(answer.raw)
      let lba = piece.lba, source = piece.bounce!.address
      for (let i = 0; i + 1 < answer.runs.length; i += 2) {
        const kind = answer.runs[i]!, sectors = answer.runs[i + 1]!
        if (kind === 1) { this.#copyOut(piece.job.request, lba, sectors, source); source += sectors * 512 }
        else if (kind === 0) this.#shell.index.resolveBelow(piece.level!, lba, sectors, this.#collect)
        else this.#collect(SOURCE.zero, null, lba, sectors, 0)
        lba += sectors
      }
    }
    this.#startCollected()
    this.#done(piece)
  }

  #copyOut(request: GuestRequest, lba: number, sectors: number, source: number): void {
    if (request.dead) return
    this.#copies.reset()
    copyToGuest(this.#copies, request, (lba - request.lbaSectors) * 512, sectors * 512, source)
    this.#copies.copy()
  }

  // --- completion ----------------------------------------------------------------------------------------------------------

  #track(piece: Piece): number {
    const token = this.#freeTokens.pop() ?? this.#running.push(undefined) - 1
    this.#running[token] = piece
    return token
  }

  complete(token: number, result: number): void {
    const piece = this.#running[token]!
    if (result < 0) {
      piece.failed = true
      this.#shell.warn(`read of ${piece.sectors} sectors at ${piece.lba} from the ${isInRegion(piece) ? 'region' : 'backing'} failed with errno ${-result}`)
    }
    if (--piece.operations > 0) return
    this.#running[token] = undefined
    this.#freeTokens.push(token)
    if (piece.failed) { this.#done(piece); return }
    if (isInRegion(piece) && !this.#isGood(piece)) { this.#distrust(piece); return }
    if (piece.bounce !== null) this.#arrived(piece, piece.bounce.address + piece.headBytes)
    this.#measure(piece, this.#shell.nowMs(), piece.sectors * 512)
    this.#done(piece)
  }

  #measure({ source, startedMs }: Piece, nowMs: number, bytes: number): void {
    const { measured } = this.#shell.counters, us = (nowMs - startedMs) * 1000
    measured.readFrom(source, bytes)
    if (source === SOURCE.local) measured.region.read.add(us)
    else if (source === SOURCE.clean) measured.cache.read.add(us)
    else if (source === SOURCE.remote) measured.peer.read.add(us)
    else measured.backing.read.add(us)
  }

  #arrived(piece: Piece, address: number): void {
    this.#copyOut(piece.job.request, piece.lba, piece.sectors, address)
    if (piece.source === SOURCE.backing && piece.job.stamp >= 0) this.#shell.clean!.fill(piece.job.stamp, piece.lba, piece.sectors, address)
  }

  // --- checking --------------------------------------------------------------------------------------------------------------

  /** Does what was read match the sums of its blocks, as far as they are known? */
  #isGood(piece: Piece): boolean {
    const { sums } = this.#shell.region
    if (piece.bounce !== null) {
      const first = Math.floor(piece.location / SECTORS_PER_BLOCK), end = Math.ceil((piece.location + piece.sectors) / SECTORS_PER_BLOCK)
      for (let place = first, address = piece.bounce.address; place < end; place++, address += BLOCK_BYTES) {
        if (sums.knows(place) && !sums.matches(place, native.crc32cAt(address, BLOCK_BYTES, 0))) return false
      }
      return true
    }
    const { request } = piece.job, first = piece.location / SECTORS_PER_BLOCK
    // Its memory may be gone: nobody looks at it.
    if (request.dead) return true
    return eachBlockInGuest(request, this.#offset(piece), piece.sectors * 512, (address, block) =>
      !sums.knows(first + block) || sums.matches(first + block, native.crc32cAt(address, BLOCK_BYTES, 0)))
  }

  #distrust(piece: Piece): void {
    if (!piece.suspect) {
      piece.suspect = true
      this.#giveBounce(piece)
      this.#start(piece)
      return
    }
    const { counters, clean } = this.#shell, offsetBytes = piece.location * 512
    counters.rottenBlocks++
    if (piece.source === SOURCE.clean) {
      this.#shell.warn(`a clean block at byte ${offsetBytes} of the region is not what was written; it is read from the backing`)
      clean!.forget(piece.lba, piece.sectors)
      this.#again(piece)
      return
    }
    const next = this.#shell.rotten(offsetBytes)
    if (next === 'again') this.#again(piece)
    else if (next === 'wait') {
      this.#giveBounce(piece)
      this.#rotten.push(piece)
    } else {
      piece.failed = true
      this.#done(piece)
    }
  }

  #done(piece: Piece): void {
    if (piece.failed) piece.job.failed = true
    if (piece.pin >= 0) this.#shell.region.unpinReads(piece.pin)
    this.#giveBounce(piece)
    this.#release(piece.job)
  }

  #giveBounce(piece: Piece): void {
    if (piece.bounce === null) return
    this.#bounces.give(piece.bounce)
    piece.bounce = null
    const next = this.#waiting.shift()
    if (next === undefined) return
    next.startedMs = this.#shell.nowMs()
    this.#start(next)
  }

  #release(job: Job): void {
    if (--job.pieces > 0) return
    this.#jobs--
    // A slow storage may answer long after another host took over. Owner again, it is read again (R6).
    if (!job.request.dead && !this.#shell.mayAnswer()) { this.#deferred.push(job.request); return }
    job.request.complete(job.failed ? STATUS.ioError : STATUS.ok)
  }

  #offset(piece: Piece): number { return (piece.lba - piece.job.request.lbaSectors) * 512 }

  close(): void { this.#bounces.close() }
}

const isInRegion = ({ source }: Piece): boolean => source === SOURCE.local || source === SOURCE.clean
