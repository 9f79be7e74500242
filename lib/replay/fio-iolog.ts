/** Converts fio's I/O logs (write_iolog), version 2 and 3. */
import { SECTOR_BYTES } from '../core/units.js'
import { capacityOf, traceProblem, type Trace, type TraceKind, type TraceOperation } from './trace.js'

const KINDS: Readonly<Record<string, TraceKind>> = { read: 'read', write: 'write', sync: 'flush', datasync: 'flush', trim: 'discard' }
/** File actions: they move no data. */
const IGNORED = new Set(['add', 'open', 'close'])

export const isFioIolog = (text: string): boolean => /^fio version [23] iolog\n/.test(text)

/**
 * Version 2 has no times, but waits in microseconds; version 3 begins every line with microseconds since the start.
 * All files of a job become one disk, one behind the other in the order of their first I/O, each as long as its use.
 */
export function parseFioIolog(text: string, source: string, seed = 1): Trace {
  const timed = text.startsWith('fio version 3')
  const files = new Map<string, { readonly operations: (TraceOperation & { order: number })[] }>()
  let nowUs = 0, order = 0
  text.split('\n').forEach((line, i) => {
    if (i === 0 || line.trim() === '') return
    const fields = line.trim().split(/\s+/), bad = (problem: string): Error => traceProblem(source, i + 1, problem)
    if (timed) nowUs = wholeNumber(fields.shift()!, bad)
    const [file, action] = fields
    if (file === undefined || action === undefined) throw bad('a file and an action are needed')
    if (IGNORED.has(action)) return
    if (action === 'wait') { nowUs += wholeNumber(fields[2] ?? '', bad); return }
    const kind = KINDS[action]
    if (kind === undefined) throw bad(`"${action}" is no action of a fio iolog`)
    if (!files.has(file)) files.set(file, { operations: [] })
    files.get(file)!.operations.push({ ...operation(kind, fields, bad), timeUs: nowUs, order: order++ })
  })
  const placed: (TraceOperation & { order: number })[] = []
  let start = 0
  for (const { operations } of files.values()) {
    for (const o of operations) placed.push(o.kind === 'flush' ? o : { ...o, lbaSectors: o.lbaSectors + start })
    start += capacityOf(operations)
  }
  placed.sort((a, b) => a.order - b.order)
  const operations = placed.map(({ order: _order, ...o }) => o)
  return { capacitySectors: Math.max(start, capacityOf(operations)), seed, operations }
}

function operation(kind: TraceKind, fields: readonly string[], bad: (problem: string) => Error): Omit<TraceOperation, 'timeUs'> {
  if (kind === 'flush') return { kind, lbaSectors: 0, lengthSectors: 0, queue: 0 }
  const offset = wholeNumber(fields[2] ?? '', bad), length = wholeNumber(fields[3] ?? '', bad)
  if (offset % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0 || length === 0) throw bad(`${length} bytes at ${offset} are not whole sectors of ${SECTOR_BYTES} bytes`)
  return { kind, lbaSectors: offset / SECTOR_BYTES, lengthSectors: length / SECTOR_BYTES, queue: 0 }
}

function wholeNumber(text: string, bad: (problem: string) => Error): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw bad(`"${text}" is not a whole number`)
  return value
}
