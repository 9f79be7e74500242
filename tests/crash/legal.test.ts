/** The checkers themselves: what they allow and what they refuse. */
import t from 'tap'
import { GARBAGE, GuestHistory, identify, stampWrite } from '../../fixtures/crash/history.js'
import { checkEpochs, checkPrefix, checkRead, checkWindow } from '../../fixtures/crash/legal.js'

/** Write 1 everywhere, a flush, write 2 on sectors 0-1 and write 3 on sectors 2-3, a flush, write 4 on sector 0, zeros on sector 3. */
function stream(): GuestHistory {
  const history = new GuestHistory(new Int32Array(4)), write = (id: number, lba: number, sectors: number, at: number): void => {
    history.add({ id, lba, sectors, submittedAt: at, ackedAt: at + 1, strict: false })
  }
  write(1, 0, 4, 10)
  history.flushes.push({ submittedAt: 20, ackedAt: 25, coveredWrites: 1 })
  write(2, 0, 2, 30)
  write(3, 2, 2, 40)
  history.flushes.push({ submittedAt: 50, ackedAt: 55, coveredWrites: 3 })
  write(4, 0, 1, 60)
  write(0, 3, 1, 70)
  return history
}

const END = 100
const epochs = (ids: number[], at = END): boolean => 'position' in checkEpochs(stream(), Int32Array.from(ids), at)
const prefix = (ids: number[], from = 0, to = 5): boolean => 'position' in checkPrefix(stream(), Int32Array.from(ids), from, to)

t.test('by flush epochs: everything before some flush, any of what follows it, nothing later', async (t) => {
  for (const ids of [[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 2, 1, 3], [2, 2, 3, 3], [4, 2, 3, 0], [2, 2, 3, 0]]) t.ok(epochs(ids), ids.join(' '))
  for (const ids of [[0, 2, 1, 1], [4, 1, 3, 3], [4, 2, 1, 3], [1, 1, 1, 9], [GARBAGE, 1, 1, 1], [4, 2, 0, 3]]) t.notOk(epochs(ids), ids.join(' '))
  t.notOk(epochs([4, 2, 3, 3], 58), 'not from the future')
})

t.test('zeros may come from the beginning or from a zeroing, but not from both at once', async (t) => {
  t.ok(epochs([2, 2, 3, 0]))
  t.notOk(epochs([2, 2, 0, 0]), 'sector 2 was never zeroed again')
})

t.test('a prefix: exactly the first part, a large write perhaps by half', async (t) => {
  for (const ids of [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [2, 1, 1, 1], [2, 2, 3, 1], [4, 2, 3, 3], [4, 2, 3, 0]]) t.ok(prefix(ids), ids.join(' '))
  for (const ids of [[0, 1, 0, 0], [1, 1, 3, 1], [2, 2, 3, 0], [1, 2, 1, 1]]) t.notOk(prefix(ids), ids.join(' '))
  t.notOk(prefix([1, 1, 1, 1], 2), 'less than was promised')
  t.notOk(prefix([4, 2, 3, 3], 0, 3), 'more than was asked for')
})

t.test('a window: each sector what was promised or later, in any combination', async (t) => {
  const window = (ids: number[], from: number, to: number): boolean => checkWindow(stream(), Int32Array.from(ids), from, to) === null
  t.ok(window([1, 2, 1, 3], 1, 3))
  t.notOk(window([1, 2, 0, 3], 1, 3))
  t.notOk(window([4, 2, 3, 3], 1, 3))
})

t.test('a read: what was acknowledged before it, or anything submitted until its end', async (t) => {
  const read = (ids: number[], from: number, to: number): boolean => checkRead(stream(), 0, Int32Array.from(ids), from, to) === null
  t.ok(read([1, 2], 15, 35) && read([2, 2], 15, 35))
  t.notOk(read([1, 2], 35, 45), 'older than what was acknowledged')
  t.notOk(read([4, 2], 35, 45), 'not yet written')
})

t.test('a sector tells which write it is, and nothing passes for another', async (t) => {
  const bytes = new Uint8Array(4 * 512)
  stampWrite(bytes, 7, 100, 3)
  t.same([...identify(bytes, 100)], [7, 7, 7, 0])
  t.same([...identify(bytes, 101)], [GARBAGE, GARBAGE, GARBAGE, 0], 'in another place')
  bytes[600]! ^= 1
  bytes[2047] = 1
  t.same([...identify(bytes, 100)], [7, GARBAGE, 7, GARBAGE], 'a single bit')
})
