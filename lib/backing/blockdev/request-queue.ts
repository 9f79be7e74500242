/**
 * The requests of a blockdev backing: cut to the size of shared buffers, given to the daemon that serves now, and what
 * becomes of them when it ends. Reads go to the next one. Changes end with an error, not before the process is gone,
 * and count as outstanding until then.
 */
import { native } from 'vhost-user-ts-bindings'
import { assert } from '../../core/assert.js'
import type { VhostClient } from '../../client/front-end.js'
import { limits } from '../../limits.js'
import type { CompletionTarget } from '../../ports/io.js'
import { SharedBuffers, type SharedBuffer } from './buffers.js'

const EIO = 5
const CONFIG_ZEROES_SECTORS = 48

export type RequestKind = 'read' | 'write' | 'writeZeroes' | 'flush'

export interface Request {
  readonly kind: RequestKind
  readonly address: number
  readonly offsetBytes: number
  readonly lengthBytes: number
  readonly unmap: boolean
  readonly target: CompletionTarget
  readonly token: number
  readonly deadlineMs: number
  /** Given to the daemon so far, in pieces, of which so many are under way. */
  issuedBytes: number
  pieces: number
  /** To be flushed when it is written. */
  durable: boolean
  failed: boolean
}

const isData = (request: Request): boolean => request.kind === 'read' || request.kind === 'write'
export const changes = (request: Request): boolean => request.kind === 'write' || request.kind === 'writeZeroes'

export const flushOf = (client: VhostClient): Promise<number> => client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 })

export class RequestQueue {
  readonly #stallMs: number
  readonly #settleMs: number
  readonly #copy = new Float64Array(4)
  #client: VhostClient | null = null
  #buffers = new SharedBuffers()
  #zeroesBytesMax = 0
  /** Not, or not completely, given to a daemon yet. */
  #waiting: Request[] = []
  readonly #underWay = new Set<Request>()
  #deadline: NodeJS.Timeout | null = null
  /** Changes completed, and how many of them a flush has covered. */
  #changes = 0
  #flushedChanges = 0
  /** A daemon took unflushed changes with it: the next flush says so. */
  #owesError = false
  /** Nothing is given out until `resume`; called when nothing is under way. */
  #draining: (() => void) | null = null
  outstandingWrites = 0
  errorGeneration = 0

  /** No request waits longer than `stallMs` for a daemon; a change lost with one may arrive for `settleMs` more. */
  constructor(stallMs: number, settleMs: number) {
    this.#stallMs = stallMs
    this.#settleMs = settleMs
  }

  make(
    kind: RequestKind, address: number, lengthBytes: number, offsetBytes: number, durable: boolean, unmap: boolean, target: CompletionTarget, token: number,
  ): Request {
    const request: Request = {
      kind, address, lengthBytes, offsetBytes, durable, unmap, target, token, deadlineMs: performance.now() + this.#stallMs, issuedBytes: 0, pieces: 0, failed: false,
    }
    if (changes(request)) this.outstandingWrites++
    return request
  }

  add(request: Request): void {
    assert(this.#waiting.length < limits.ringOverflow, 'requests that wait for a daemon are bounded')
    this.#waiting.push(request)
    if (this.#client === null) this.#watchDeadline()
    else this.#pump()
  }

  complete(request: Request, result: number): void {
    // A failed read counts too: it may be all that shows of a server that was away, and forgot what it had not flushed.
    if (result < 0) this.errorGeneration++
    if (changes(request)) this.outstandingWrites--
    request.target.complete(request.token, result)
  }

  completeLater(request: Request, result: number): void { setImmediate(() => this.complete(request, result)) }

  // --- daemons ---------------------------------------------------------------------------------------------------------------

  up(client: VhostClient): void {
    this.#client = client
    this.#zeroesBytesMax = Math.max(1, client.config.getUint32(CONFIG_ZEROES_SECTORS, true)) * 512
    this.#buffers = new SharedBuffers()
    this.#watchDeadline()
    this.#pump()
  }

  /** At once when the connection ends: the client's memory is gone with it. */
  lost(): void { this.#client = null }

  /** The process is gone for certain. */
  down(): void {
    this.errorGeneration++
    if (this.#changes > this.#flushedChanges) this.#owesError = true
    const lost = [...this.#underWay]
    this.#underWay.clear()
    this.#waiting = this.#waiting.filter((request) => !lost.includes(request))
    for (const request of lost) {
      assert(request.pieces === 0, 'a lost connection has rejected everything')
      if (request.kind !== 'read') this.#lose(request)
    }
    // First come, first served: they had waited longest.
    const reads = lost.filter((request) => request.kind === 'read')
    for (const read of reads) {
      read.issuedBytes = 0
      read.failed = false
    }
    this.#waiting.unshift(...reads)
    this.#watchDeadline()
    this.#drained()
  }

  /** No process is left that could do it, but what it sent to another host may still arrive there. */
  #lose(request: Request): void {
    if (!changes(request) || this.#settleMs === 0) this.complete(request, -EIO)
    else setTimeout(() => this.complete(request, -EIO), this.#settleMs).unref()
  }

  /** There will be no next daemon: what waits for one fails, and what was lost is another owner's to write again. */
  end(): void {
    for (const request of this.#waiting.splice(0)) this.complete(request, -EIO)
    this.#watchDeadline()
    this.#flushedChanges = this.#changes
    this.#owesError = false
  }

  /** Resolves when nothing is under way and everything is flushed, so that a daemon that is stopped takes nothing with it. */
  async drain(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#draining = resolve
      this.#drained()
    })
    const covers = this.#changes
    const status = this.#client === null ? 1 : await flushOf(this.#client).catch(() => 1)
    if (status === 0) this.#flushedChanges = covers
  }

  resume(): void {
    this.#draining = null
    this.#pump()
  }

  #drained(): void { if (this.#underWay.size === 0) this.#draining?.() }

  /** Requests that wait for a daemon wait in order, so the first is the first whose time is over. */
  #watchDeadline(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    this.#deadline = null
    const first = this.#waiting[0]
    // What a lost daemon had begun waits for its end, however long that takes.
    if (this.#client !== null || this.#underWay.size > 0 || first === undefined) return
    this.#deadline = setTimeout(() => {
      const now = performance.now()
      while (this.#waiting.length > 0 && this.#waiting[0]!.deadlineMs <= now) this.complete(this.#waiting.shift()!, -EIO)
      this.#watchDeadline()
    }, Math.max(1, first.deadlineMs - performance.now()))
  }

  // --- one request -------------------------------------------------------------------------------------------------------------

  #pump(): void {
    while (this.#client !== null && this.#draining === null && this.#waiting.length > 0) {
      if (!this.#issue(this.#client, this.#waiting[0]!)) return
      this.#waiting.shift()
    }
  }

  /** False while there is no buffer for its next piece. */
  #issue(client: VhostClient, request: Request): boolean {
    if (request.kind === 'flush' && this.#owesError) {
      this.#owesError = false
      this.completeLater(request, -EIO)
      return true
    }
    this.#underWay.add(request)
    do {
      const left = request.lengthBytes - request.issuedBytes
      const buffer = isData(request) ? this.#buffers.take(left) : null
      if (buffer === undefined) return false
      const bytes = Math.min(left, buffer === null ? this.#zeroesBytesMax : buffer.lengthBytes)
      this.#send(client, request, request.kind, buffer, request.issuedBytes, bytes)
      request.issuedBytes += bytes
    } while (request.issuedBytes < request.lengthBytes)
    return true
  }

  #send(client: VhostClient, request: Request, kind: RequestKind, buffer: SharedBuffer | null, atBytes: number, bytes: number): void {
    const covers = this.#changes, buffers = this.#buffers
    const memory = client.memory.userAddress + client.buffer.byteOffset + (buffer?.offset ?? 0)
    if (kind === 'write') this.#move(request.address + atBytes, memory, bytes)
    request.pieces++
    client.submit({
      kind, unmap: request.unmap, lbaSectors: (request.offsetBytes + atBytes) / 512, lengthSectors: bytes / 512, bufferOffset: buffer?.offset ?? 0,
    }).then((status) => {
      request.pieces--
      // Answered, but its memory is gone with the connection: as if it had not been.
      if (client !== this.#client) return
      if (status !== 0) request.failed = true
      else if (kind === 'read') this.#move(memory, request.address + atBytes, bytes)
      else if (kind === 'flush') this.#flushedChanges = Math.max(this.#flushedChanges, covers)
      else this.#changes++
      if (buffer !== null) buffers.give(buffer)
      this.#progressed(client, request)
    }, () => { request.pieces-- })
  }

  #move(from: number, to: number, bytes: number): void {
    this.#copy[0] = from
    this.#copy[1] = to
    this.#copy[2] = bytes
    native.copy(this.#copy, 1)
  }

  #progressed(client: VhostClient, request: Request): void {
    if (request.pieces === 0 && request.issuedBytes === request.lengthBytes) {
      if (request.durable && !request.failed) {
        request.durable = false
        this.#send(client, request, 'flush', null, 0, 0)
      } else {
        this.#underWay.delete(request)
        this.complete(request, request.failed ? -EIO : request.lengthBytes)
      }
    }
    this.#drained()
    this.#pump()
  }
}
