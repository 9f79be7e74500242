/** Converts blkparse's default text: "8,0 3 11 0.009507758 697 Q WS 223490 + 8 [kjournald]". */
import { capacityOf, traceProblem, type Trace, type TraceKind, type TraceOperation } from './trace.js'

/** device cpu sequence seconds pid action rwbs [sector + sectors] ... */
const EVENT = /^\s*\d+,\d+\s+(\d+)\s+\d+\s+(\d+)\.(\d{9})\s+\d+\s+([A-Z]+)\s+([A-Z]+)(?:\s+(\d+)(?:\s+\+\s+(\d+))?)?/

export const isBlkparse = (text: string): boolean => text.split('\n', 50).some((line) => EVENT.test(line))

/**
 * One event of each request counts: queued (Q) by default, or issued to the driver (D). Lines that are no events, like
 * the summary at the end, are passed over; events of a request that is only a barrier become flushes.
 */
export function parseBlkparse(text: string, source: string, event: 'Q' | 'D' = 'Q', seed = 1): Trace {
  const operations: TraceOperation[] = []
  let firstNs: number | null = null, lastUs = 0
  text.split('\n').forEach((line, i) => {
    const match = EVENT.exec(line)
    if (match === null || match[4] !== event) return
    const [, cpu, seconds, fraction, , rwbs, sector, sectors] = match
    const timeNs = Number(seconds) * 1e9 + Number(fraction)
    firstNs ??= timeNs
    // CPUs' clocks differ a little, and blkparse sorts only within its window.
    lastUs = Math.max(lastUs, Math.round((timeNs - firstNs) / 1000))
    const length = Number(sectors ?? 0), kind = kindOf(rwbs!, length)
    if (kind === null) return
    if (kind !== 'flush' && sector === undefined) throw traceProblem(source, i + 1, `${rwbs} without a sector`)
    // "F" before the letter: the device's cache is flushed first.
    if (kind !== 'flush' && rwbs!.startsWith('F')) operations.push({ timeUs: lastUs, kind: 'flush', lbaSectors: 0, lengthSectors: 0, queue: 0 })
    operations.push({
      timeUs: lastUs, kind, lbaSectors: kind === 'flush' ? 0 : Number(sector), lengthSectors: kind === 'flush' ? 0 : length, queue: Number(cpu) % 4,
    })
  })
  if (operations.length === 0) throw traceProblem(source, 1, `no "${event}" events; run blktrace and blkparse with their default output`)
  return { capacitySectors: capacityOf(operations), seed, operations }
}

function kindOf(rwbs: string, sectors: number): TraceKind | null {
  if (sectors === 0) return rwbs.includes('F') ? 'flush' : null
  if (rwbs.includes('D')) return 'discard'
  if (rwbs.includes('W')) return 'write'
  return rwbs.includes('R') ? 'read' : null
}
