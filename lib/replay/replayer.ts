/**
 * Replays a recording through a vhost-user socket. Writes carry stamps, reads are checked against what was written.
 * Operations start in the order of the recording, many at a time, but never two that overlap: between those a disk
 * promises no order, so nobody could say what a later read must show.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks'
import { VhostClient, type ClientKind } from '../client/front-end.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { Expected } from './expected.js'
import { stampSectors } from './stamp.js'
import type { Trace, TraceKind, TraceOperation } from './trace.js'

export interface ReplayOptions {
  readonly socketPath: string
  /** Operations at a time. */
  readonly depth: number
  readonly queues: number
  /** At the recording's own times instead of as fast as possible. */
  readonly realTime: boolean
  /** The disk is all zeros: sectors that were never written must read as zeros. */
  readonly fresh: boolean
  readonly progress: (done: number, total: number) => void
}

export interface Latencies { readonly count: number; readonly p50Us: number; readonly p99Us: number; readonly maxUs: number }

export interface ReplayResult {
  readonly operations: number
  readonly seconds: number
  readonly writtenBytes: number
  readonly readBytes: number
  readonly latency: Readonly<Partial<Record<TraceKind, Latencies>>>
  /** The first few of them, as sentences. */
  readonly mismatches: readonly string[]
  readonly mismatchCount: number
}

const CLIENT_KIND: Readonly<Record<TraceKind, ClientKind>> = { read: 'read', write: 'write', flush: 'flush', discard: 'discard', zero: 'writeZeroes' }
const SECTOR_BYTES = 512
const MISMATCHES_SHOWN = 10

export async function replayTrace(trace: Trace, options: ReplayOptions): Promise<ReplayResult> {
  const longest = trace.operations.reduce((most, o) => (movesData(o) ? Math.max(most, o.lengthSectors) : most), 8) * SECTOR_BYTES
  if (longest > limits.requestBytesMax) throw new Failure(EXIT.usage, `an operation of ${longest} bytes is longer than the ${limits.requestBytesMax} that a request may have`)
  const depth = Math.max(1, Math.min(options.depth, Math.floor(limits.replayBufferBytesMax / longest)))
  const client = await VhostClient.connect(options.socketPath, { queues: options.queues, bufferBytes: depth * longest })
  try {
    if (client.capacitySectors < trace.capacitySectors) {
      throw new Failure(EXIT.usage, `the volume on ${options.socketPath} has ${client.capacitySectors} sectors and the recording needs ${trace.capacitySectors}; --fit brings it down`)
    }
    const run = new Run(client, trace, options, depth, longest)
    const result = await run.all()
    await client.close()
    return result
  } catch (error) {
    await client.abort()
    throw error
  }
}

const movesData = (o: TraceOperation): boolean => o.kind === 'read' || o.kind === 'write'

class Run {
  readonly #client: VhostClient
  readonly #trace: Trace
  readonly #options: ReplayOptions
  readonly #slotBytes: number
  readonly #expected: Expected
  readonly #freeSlots: number[]
  readonly #inFlight = new Set<TraceOperation>()
  readonly #latency = new Map<TraceKind, RecordableHistogram>()
  readonly #mismatches: string[] = []
  #mismatchCount = 0
  #wake: (() => void) | null = null
  #failure: Error | null = null
  #readBytes = 0
  #writtenBytes = 0

  constructor(client: VhostClient, trace: Trace, options: ReplayOptions, depth: number, slotBytes: number) {
    this.#client = client
    this.#trace = trace
    this.#options = options
    this.#slotBytes = slotBytes
    this.#expected = new Expected(trace, options.fresh)
    this.#freeSlots = Array.from({ length: depth }, (_, i) => i)
  }

  async all(): Promise<ReplayResult> {
    const started = performance.now(), { operations } = this.#trace
    for (const [index, operation] of operations.entries()) {
      while (this.#failure === null && (this.#freeSlots.length === 0 || this.#overlaps(operation))) await this.#oneEnds()
      if (this.#options.realTime) await sleepUntil(started + operation.timeUs / 1000)
      if (this.#failure !== null) throw this.#failure
      this.#start(operation, index)
      if (index % 256 === 0) this.#options.progress(index, operations.length)
    }
    while (this.#inFlight.size > 0) await this.#oneEnds()
    if (this.#failure !== null) throw this.#failure
    await this.#finalFlush()
    this.#options.progress(operations.length, operations.length)
    return {
      operations: operations.length, seconds: (performance.now() - started) / 1000, writtenBytes: this.#writtenBytes, readBytes: this.#readBytes,
      latency: Object.fromEntries([...this.#latency].map(([kind, h]) => [kind, latenciesOf(h)])), mismatches: this.#mismatches, mismatchCount: this.#mismatchCount,
    }
  }

  #overlaps(o: TraceOperation): boolean {
    for (const other of this.#inFlight) {
      if (other.kind === 'read' && o.kind === 'read') continue
      if (other.lbaSectors < o.lbaSectors + o.lengthSectors && o.lbaSectors < other.lbaSectors + other.lengthSectors) return true
    }
    return false
  }

  #oneEnds(): Promise<void> { return new Promise((resolve) => { this.#wake = resolve }) }

  #start(o: TraceOperation, index: number): void {
    const slot = this.#freeSlots.pop()!, bufferOffset = slot * this.#slotBytes
    this.#inFlight.add(o)
    if (o.kind === 'write') stampSectors(this.#client.buffer.subarray(bufferOffset), this.#trace.seed, index, o.lbaSectors, o.lengthSectors)
    const startedNs = process.hrtime.bigint()
    this.#client.submit({ kind: CLIENT_KIND[o.kind], lbaSectors: o.lbaSectors, lengthSectors: o.lengthSectors, bufferOffset, queue: o.queue % this.#options.queues })
      .then((status) => {
        this.#record(o.kind, process.hrtime.bigint() - startedNs)
        if (status !== 0) throw new Failure(EXIT.unreachable, `operation ${index + 1} (${o.kind} of ${o.lengthSectors} sectors at ${o.lbaSectors}) ended with ${status === 2 ? '"unsupported"' : 'an I/O error'}`)
        this.#done(o, index, bufferOffset)
      }).catch((error: Error) => { this.#failure ??= error }).finally(() => {
        this.#inFlight.delete(o)
        this.#freeSlots.push(slot)
        this.#wake?.()
        this.#wake = null
      })
  }

  #record(kind: TraceKind, nanoseconds: bigint): void {
    let histogram = this.#latency.get(kind)
    if (histogram === undefined) this.#latency.set(kind, histogram = createHistogram())
    histogram.record(nanoseconds > 0n ? nanoseconds : 1n)
  }

  #done(o: TraceOperation, index: number, bufferOffset: number): void {
    const bytes = o.lengthSectors * SECTOR_BYTES
    this.#expected.apply(o, index)
    if (o.kind === 'write') this.#writtenBytes += bytes
    if (o.kind !== 'read') return
    this.#readBytes += bytes
    const wrong = this.#expected.check(o.lbaSectors, this.#client.buffer.subarray(bufferOffset, bufferOffset + bytes))
    if (wrong === null) return
    this.#mismatchCount++
    if (this.#mismatches.length < MISMATCHES_SHOWN) this.#mismatches.push(`operation ${index + 1}: ${wrong}`)
  }

  async #finalFlush(): Promise<void> {
    const status = await this.#client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 })
    if (status !== 0) throw new Failure(EXIT.unreachable, 'the flush at the end failed')
  }
}

const latenciesOf = (h: RecordableHistogram): Latencies =>
  ({ count: h.count, p50Us: h.percentile(50) / 1000, p99Us: h.percentile(99) / 1000, maxUs: h.max / 1000 })

async function sleepUntil(timeMs: number): Promise<void> {
  const left = timeMs - performance.now()
  if (left > 1) await sleep(left)
}
