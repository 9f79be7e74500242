/** `holdfast replay`. */
import { writeFileSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'
import { replayTrace, type ReplayResult } from '../replay/replayer.js'
import { readRecording } from '../replay/read-recording.js'
import { fitTrace, formatTrace } from '../replay/trace.js'
import { progressLine } from './progress.js'

export interface ReplayArguments {
  readonly socketPath?: string
  readonly convert?: string
  readonly fit?: number
  readonly depth: number
  readonly queues: number
  readonly realTime: boolean
  readonly fresh: boolean
  readonly json: boolean
}

export async function replay(path: string, options: ReplayArguments): Promise<void> {
  if ((options.socketPath === undefined) === (options.convert === undefined)) throw new Failure(EXIT.usage, 'either --socket-path or --convert is needed (--help shows what is possible)')
  const read = readRecording(path), trace = options.fit === undefined ? read : fitTrace(read, Math.floor(options.fit / 512))
  if (options.convert !== undefined) { writeFileSync(options.convert, formatTrace(trace)); return }
  const result = await replayTrace(trace, { ...options, socketPath: options.socketPath!, progress: options.json ? () => undefined : progressLine('replaying') })
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : describe(result))
  if (result.mismatchCount > 0) throw new Failure(EXIT.damaged, `${result.mismatchCount} reads returned wrong data: ${result.mismatches[0]!}`)
}

function describe(result: ReplayResult): string {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const rows = Object.entries(result.latency).map(([kind, l]) =>
    `  ${kind.padEnd(8)}${String(l.count).padStart(8)}   p50 ${l.p50Us.toFixed(0).padStart(6)} us   p99 ${l.p99Us.toFixed(0).padStart(7)} us   max ${l.maxUs.toFixed(0).padStart(8)} us\n`)
  return `${result.operations} operations in ${result.seconds.toFixed(2)} s, ${mib(result.writtenBytes)} MiB written, ${mib(result.readBytes)} MiB read and checked\n${rows.join('')}`
}
