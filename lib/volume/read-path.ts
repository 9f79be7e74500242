/**
 * The read path: one guest read is stitched from the own log, inherited logs here or on other hosts, and the
 * backing, at 512-byte granularity. Only reads of the region go straight into guest memory; what comes from the
 * backing or a peer lands in our memory first, because an abandoned one must not write to a guest that was reset or
 * resumed elsewhere.
 */
import { native } from 'vhost-user-ts-bindings'
import { roundDown, roundUp } from '../core/units.js'
import { limits } from '../limits.js'
import type { AlignedMemory } from '../io/memory.js'
import { STATUS, type GuestRequest } from '../ports/guest.js'
import type { Backing, BlockFile, CompletionTarget } from '../ports/io.js'
import type { Region } from '../ports/region.js'
import { BouncePool } from '../io/bounce.js'
import type { Counters } from './counters.js'
import { CopyTable, alignedInGuest, copyToGuest } from './guest-bytes.js'
import type { RemoteReader, RemoteRuns } from './remote-reader.js'
import { SOURCE, type Level, type RunVisitor, type Source, type VolumeIndex } from './volume-index.js'

export interface ReadShell {
  readonly region: Region
  readonly backing: Backing
  readonly index: VolumeIndex
  readonly remote: RemoteReader
  readonly counters: Counters
  /** Write-through: reads of what is not flushed yet wait for the backing (R15). */
  mustWait(request: GuestRequest): boolean
  warn(message: string): void
}

interface Job { readonly request: GuestRequest; pieces: number; failed: boolean }

/** One run of a request from one source, at most readBytesMax long. */
interface Piece {
  readonly job: Job
  readonly source: Source
  readonly level: Level | null
  readonly lba: number
  readonly sectors: number
  /** Region sector, for local runs. */
  readonly location: number
  bounce: AlignedMemory | null
  /** Bytes of the bounce buffer before the run's first byte. */
  headBytes: number
  pin: number
  /** Ring operations outstanding. */
  operations: number
  failed: boolean
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
  /** Reads that wait for an unflushed write (write-through). */
  #deferred: GuestRequest[] = []
  #collected: Piece[] = []
  #collecting: Job | null = null
  #jobs = 0

  constructor(shell: ReadShell) { this.#shell = shell }


  submit(request: GuestRequest): void {
    if (this.#shell.mustWait(request)) { this.#deferred.push(request); return }
    const job: Job = { request, pieces: 1, failed: false }
    this.#jobs++
    this.#collecting = job
    this.#shell.index.resolve(request.lbaSectors, request.lengthSectors, this.#collect)
    this.#startCollected()
    this.#release(job)
  }

  /** The backing was flushed: reads that waited for it look again. */
  recheck(): void {
    for (const request of this.#deferred.splice(0)) this.submit(request)
  }

  readonly #collect: RunVisitor = (source, level, lba, sectors, location) => {
    const job = this.#collecting!
    for (let done = 0; done < sectors; done += PIECE_SECTORS) {
      job.pieces++
      this.#collected.push({
        job, source, level, lba: lba + done, sectors: Math.min(PIECE_SECTORS, sectors - done),
        location: location + done, bounce: null, headBytes: 0, pin: -1, operations: 0, failed: false,
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
    if (piece.source === SOURCE.local && piece.pin < 0) piece.pin = this.#shell.region.pinReads()
    if (piece.source === SOURCE.zero) { this.#zero(piece); return }
    if (piece.source === SOURCE.local && this.#direct(piece)) return
    const bounce = this.#bounces.take()
    if (bounce === undefined) { this.#waiting.push(piece); return }
    piece.bounce = bounce
    if (piece.source === SOURCE.remote) { void this.#readRemote(piece); return }
    if (piece.source === SOURCE.local) this.#readBounced(piece, this.#shell.region.file, piece.location * 512)
    else this.#readBounced(piece, this.#shell.backing, piece.lba * 512)
  }

  // --- sources -----------------------------------------------------------------------------------------------------------

  #zero(piece: Piece): void {
    const request = piece.job.request
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

  /** Region to guest memory without a copy, where every piece of guest memory is aligned. */
  #direct(piece: Piece): boolean {
    const { region, counters } = this.#shell
    const request = piece.job.request
    const align = region.file.alignmentBytes
    const from = this.#offset(piece), length = piece.sectors * 512
    if ((piece.location * 512) % align !== 0 || !alignedInGuest(request, from, length, align)) return false
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

  #readBounced(piece: Piece, file: BlockFile, offsetBytes: number): void {
    const from = roundDown(offsetBytes, file.alignmentBytes)
    const to = roundUp(offsetBytes + piece.sectors * 512, file.alignmentBytes)
    piece.headBytes = offsetBytes - from
    piece.operations++
    if (piece.source === SOURCE.local) this.#shell.counters.regionReadBytes += to - from
    else this.#shell.counters.backingReadBytes += to - from
    file.read(piece.bounce!.address, to - from, from, this, this.#track(piece))
  }

  async #readRemote(piece: Piece): Promise<void> {
    try {
      const answer = await this.#shell.remote.read(piece.level!.remote!, piece.lba, piece.sectors)
      this.#fromRemote(piece, answer)
    } catch (error) {
      this.#shell.warn(`read of ${piece.sectors} sectors at ${piece.lba}: ${(error as Error).message}`)
      piece.failed = true
      this.#done(piece)
    }
  }

  #fromRemote(piece: Piece, answer: RemoteRuns): void {
    this.#collecting = piece.job
    if (answer.trimmed) {
      // The holder has seen a base that hides this log: look again, below it.
      this.#shell.index.resolveBelow(piece.level!, piece.lba, piece.sectors, this.#collect)
    } else {
      this.#shell.counters.remoteRead(answer.host, answer.raw.length)
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
      this.#shell.warn(`read of ${piece.sectors} sectors at ${piece.lba} from the ${piece.source === SOURCE.local ? 'region' : 'backing'} failed with errno ${-result}`)
    }
    if (--piece.operations > 0) return
    this.#running[token] = undefined
    this.#freeTokens.push(token)
    if (!piece.failed && piece.bounce !== null) {
      this.#copyOut(piece.job.request, piece.lba, piece.sectors, piece.bounce.address + piece.headBytes)
    }
    this.#done(piece)
  }

  #done(piece: Piece): void {
    if (piece.failed) piece.job.failed = true
    if (piece.pin >= 0) this.#shell.region.unpinReads(piece.pin)
    if (piece.bounce !== null) {
      this.#bounces.give(piece.bounce)
      piece.bounce = null
      const next = this.#waiting.shift()
      if (next !== undefined) this.#start(next)
    }
    this.#release(piece.job)
  }

  #release(job: Job): void {
    if (--job.pieces > 0) return
    this.#jobs--
    job.request.complete(job.failed ? STATUS.ioError : STATUS.ok)
  }

  #offset(piece: Piece): number { return (piece.lba - piece.job.request.lbaSectors) * 512 }

  close(): void { this.#bounces.close() }
}
