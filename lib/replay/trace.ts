/** A recording of block I/O: text, one operation a line (docs/trace-format.md). */
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'

export type TraceKind = 'read' | 'write' | 'flush' | 'discard' | 'zero'

export interface TraceOperation {
  /** Microseconds since the recording began; never falls. */
  readonly timeUs: number
  readonly kind: TraceKind
  /** 0 for a flush, like the length. */
  readonly lbaSectors: number
  readonly lengthSectors: number
  readonly queue: number
}

export interface Trace {
  readonly capacitySectors: number
  /** Stamps are made from it: two recordings with different seeds never write the same bytes. */
  readonly seed: number
  readonly operations: readonly TraceOperation[]
}

const MAGIC = '# holdfast-trace 1'
const LETTERS: Readonly<Record<string, TraceKind>> = { r: 'read', w: 'write', f: 'flush', d: 'discard', z: 'zero' }
const LETTER_OF = Object.fromEntries(Object.entries(LETTERS).map(([letter, kind]) => [kind, letter])) as Readonly<Record<TraceKind, string>>
export const QUEUES_MAX = 64

/** A problem in a recording: usage, because nothing was done yet. `line` counts from 1. */
export const traceProblem = (source: string, line: number, problem: string): Failure => new Failure(EXIT.usage, `${source}:${line}: ${problem}`)

/** @throws Failure that names the line */
export function parseTrace(text: string, source: string): Trace {
  const lines = text.split('\n'), header = new Map<string, number>(), operations: TraceOperation[] = []
  if (lines[0] !== MAGIC) throw traceProblem(source, 1, `"${(lines[0] ?? '').slice(0, 40)}" is not "${MAGIC}"`)
  let lastUs = 0
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!.trim(), bad = (problem: string): Failure => traceProblem(source, i + 1, problem)
    if (line.startsWith('#')) {
      const field = /^# (capacity|seed) (\d+)$/.exec(line)
      if (field !== null) header.set(field[1]!, Number(field[2]))
      continue
    }
    if (line === '') continue
    const operation = parseOperation(line, bad)
    if (operation.timeUs < lastUs) throw bad(`time ${operation.timeUs} is before ${lastUs}`)
    lastUs = operation.timeUs
    if (operations.length === limits.traceOperationsMax) throw bad(`more than ${limits.traceOperationsMax} operations`)
    operations.push(operation)
  }
  const capacitySectors = header.get('capacity') ?? capacityOf(operations)
  const beyond = operations.findIndex((o) => o.lbaSectors + o.lengthSectors > capacitySectors)
  if (beyond >= 0) throw new Failure(EXIT.usage, `${source}: operation ${beyond + 1} ends beyond its capacity of ${capacitySectors} sectors`)
  return { capacitySectors, seed: header.get('seed') ?? 1, operations }
}

function parseOperation(line: string, bad: (problem: string) => Failure): TraceOperation {
  const fields = line.split(/\s+/), kind = LETTERS[fields[1] ?? '']
  if (kind === undefined) throw bad(`"${fields[1] ?? ''}" is no operation; there are ${Object.keys(LETTERS).join(', ')}`)
  const numbers = [fields[0]!, ...fields.slice(2)].map(Number)
  if (numbers.some((n) => !Number.isSafeInteger(n) || n < 0)) throw bad('times, sectors and queues are whole numbers')
  const [timeUs = 0, ...rest] = numbers, places = kind === 'flush' ? 0 : 2
  if (rest.length < places || rest.length > places + 1) throw bad(`${kind} takes ${places === 0 ? 'an optional queue' : 'sector, length and an optional queue'}`)
  const [lbaSectors, lengthSectors] = kind === 'flush' ? [0, 0] : [rest[0]!, rest[1]!], queue = rest[places] ?? 0
  if (kind !== 'flush' && lengthSectors < 1) throw bad('a length of 0 sectors')
  if (queue >= QUEUES_MAX) throw bad(`queue ${queue} is above ${QUEUES_MAX - 1}`)
  return { timeUs, kind, lbaSectors, lengthSectors, queue }
}

/** What the operations need, in whole MiB. */
export const capacityOf = (operations: readonly TraceOperation[]): number =>
  Math.max(2048, Math.ceil(operations.reduce((end, o) => Math.max(end, o.lbaSectors + o.lengthSectors), 0) / 2048) * 2048)

export function formatTrace(trace: Trace): string {
  const lines = trace.operations.map((o) => {
    const range = o.kind === 'flush' ? '' : ` ${o.lbaSectors} ${o.lengthSectors}`
    return `${o.timeUs} ${LETTER_OF[o.kind]}${range}${o.queue === 0 ? '' : ` ${o.queue}`}`
  })
  return `${MAGIC}\n# capacity ${trace.capacitySectors}\n# seed ${trace.seed}\n${lines.join('\n')}\n`
}

/** The same operations on a smaller disk: those beyond its end come down, at the same alignment. */
export function fitTrace(trace: Trace, capacitySectors: number): Trace {
  const operations = trace.operations.map((o) => {
    if (o.lbaSectors + o.lengthSectors <= capacitySectors) return o
    const lengthSectors = Math.min(o.lengthSectors, capacitySectors), room = capacitySectors - lengthSectors
    const align = 8, lbaSectors = room < align ? 0 : (o.lbaSectors % align) + Math.floor((o.lbaSectors % room) / align) * align
    return { ...o, lengthSectors, lbaSectors: Math.min(lbaSectors, room) }
  })
  return { ...trace, capacitySectors, operations }
}
