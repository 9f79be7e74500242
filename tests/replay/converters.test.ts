import t from 'tap'
import { parseBlkparse } from '../../lib/replay/blkparse.js'
import { parseFioIolog } from '../../lib/replay/fio-iolog.js'

const brief = (trace: { operations: readonly { timeUs: number; kind: string; lbaSectors: number; lengthSectors: number }[] }): string[] =>
  trace.operations.map((o) => `${o.timeUs} ${o.kind} ${o.lbaSectors}+${o.lengthSectors}`)

t.test('fio iolog version 3, as fio 3.33 writes it: microseconds first', async (t) => {
  const log = 'fio version 3 iolog\n33 /x/a add\n170 /x/a open\n176 /x/a read 61440 4096\n592 /x/a write 491520 4096\n600 /x/a datasync 0 0\n615 /x/a trim 0 1048576\n700 /x/a close\n'
  t.same(brief(parseFioIolog(log, 'l')), ['176 read 120+8', '592 write 960+8', '600 flush 0+0', '615 discard 0+2048'])
})

t.test('fio iolog version 2: times come from its waits', async (t) => {
  const log = 'fio version 2 iolog\n/dev/vda add\n/dev/vda open\n/dev/vda write 0 512\n/dev/vda wait 1500 0\n/dev/vda read 512 1024\n/dev/vda sync\n'
  t.same(brief(parseFioIolog(log, 'l')), ['0 write 0+1', '1500 read 1+2', '1500 flush 0+0'])
})

t.test('several files are one behind the other, in one order of time', async (t) => {
  const log = 'fio version 3 iolog\n1 a write 0 4096\n2 b write 0 4096\n3 a read 2097152 4096\n'
  const trace = parseFioIolog(log, 'l')
  t.same(brief(trace), ['1 write 0+8', '2 write 6144+8', '3 read 4096+8'])
  t.equal(trace.capacitySectors, 6144 + 2048)
})

t.test('what a fio iolog may not hold', async (t) => {
  for (const [line, message] of [
    ['1 a write 100 512', 'l:2: 512 bytes at 100 are not whole sectors of 512 bytes'],
    ['1 a jump 0 512', 'l:2: "jump" is no action of a fio iolog'],
    ['x a write 0 512', 'l:2: "x" is not a whole number'],
    ['1 a write 0', 'l:2: "" is not a whole number'],
    ['1', 'l:2: a file and an action are needed'],
  ] as const) t.throws(() => parseFioIolog(`fio version 3 iolog\n${line}\n`, 'l'), { message })
})

const BLKPARSE = `
  8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]
  8,0    3        2     0.000001829   697  G   W 223490 + 8 [kjournald]
  8,0    3        5     0.000013000   697  D   W 223490 + 8 [kjournald]
  8,0    1        7     0.001000000   697  Q FWFSM 1000 + 16 [jbd2/sda1-8]
  8,0    1        8     0.001500000   700  Q  DS 5000 + 2048 [fstrim]
  8,0    1        9     0.001600000   700  Q FWS [postgres]
  8,0    0       10     0.002000000   701  Q  RA 64 + 256 [cat]
CPU0 (8,0):
 Reads Queued:           1,      128KiB  Writes Queued:           2,       12KiB
Throughput (R/W): 0KiB/s / 0KiB/s
`

t.test('blkparse text: one event of each request, flushes from flags', async (t) => {
  t.same(brief(parseBlkparse(BLKPARSE, 'b')), [
    '0 write 223490+8', '1000 flush 0+0', '1000 write 1000+16', '1500 discard 5000+2048', '1600 flush 0+0', '2000 read 64+256',
  ])
  t.same(brief(parseBlkparse(BLKPARSE, 'b', 'D')), ['0 write 223490+8'])
  t.throws(() => parseBlkparse('nothing here\n', 'b'), { message: /no "Q" events/ })
})
