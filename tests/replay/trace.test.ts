import t from 'tap'
import { fitTrace, formatTrace, parseTrace } from '../../lib/replay/trace.js'

const text = (...lines: string[]): string => ['# holdfast-trace 1', ...lines, ''].join('\n')

t.test('what is written is read back the same', async (t) => {
  const source = text('# capacity 131072', '# seed 7', '0 w 2048 8', '120 f', '120 r 0 64 3', '200 d 4096 2048', '210 z 8192 16 1', '300 f 2')
  const trace = parseTrace(source, 'x')
  t.match(trace, { capacitySectors: 131072, seed: 7 })
  t.same(trace.operations[2], { timeUs: 120, kind: 'read', lbaSectors: 0, lengthSectors: 64, queue: 3 })
  t.same(parseTrace(formatTrace(trace), 'y'), trace)
})

t.test('without a header the capacity is what the operations need', async (t) => {
  t.match(parseTrace(text('5 w 10000 8'), 'x'), { capacitySectors: 10240, seed: 1 })
  t.equal(parseTrace(text(), 'x').operations.length, 0)
})

t.test('mistakes are told with their line', async (t) => {
  for (const [source, message] of [
    ['hello\n', 'x:1: "hello" is not "# holdfast-trace 1"'],
    [text('0 w 1'), 'x:2: write takes sector, length and an optional queue'],
    [text('0 f 1 2'), 'x:2: flush takes an optional queue'],
    [text('0 q 1 1'), 'x:2: "q" is no operation; there are r, w, f, d, z'],
    [text('5 w 1 1', '4 w 1 1'), 'x:3: time 4 is before 5'],
    [text('0 w -1 1'), 'x:2: times, sectors and queues are whole numbers'],
    [text('0 w 1 0'), 'x:2: a length of 0 sectors'],
    [text('0 w 1 1 64'), 'x:2: queue 64 is above 63'],
    [text('# capacity 8', '0 w 0 8', '0 w 1 8'), 'x: operation 2 ends beyond its capacity of 8 sectors'],
  ] as const) t.throws(() => parseTrace(source, 'x'), { message, exitCode: 64 })
})

t.test('fitted into a smaller disk, operations keep their alignment and length', async (t) => {
  const trace = fitTrace(parseTrace(text('0 w 1000003 5', '0 w 16 8', '0 d 0 900000'), 'x'), 2048)
  t.equal(trace.capacitySectors, 2048)
  for (const o of trace.operations) t.ok(o.lbaSectors + o.lengthSectors <= 2048)
  t.match(trace.operations, [{ lengthSectors: 5 }, { lbaSectors: 16 }, { lbaSectors: 0, lengthSectors: 2048 }])
  t.equal(trace.operations[0]!.lbaSectors % 8, 1000003 % 8)
})
