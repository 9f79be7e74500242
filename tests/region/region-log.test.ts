/** The order in which things may become true: held with a disk that completes what the test says, when it says it. */
import t from 'tap'
import { won } from '../../lib/core/units.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { append, fakeLog, fakePool } from './fake-file.js'
import { SEGMENT_BYTES } from './region-lab.js'

/** Of this size a segment holds one. */
const BIG = 1024 * 1024 + 4096

t.test('a record whose segment has no header yet is not stored', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), first = append(log, 1)
  t.same(file.seen.map(({ offset }) => offset - segmentOffset(0, SEGMENT_BYTES)), [0, 4096])
  file.seen[1]!.done()
  t.equal(log.storedLength, 0)
  file.seen[0]!.done()
  t.equal(log.storedLength, 1)
  t.equal(await first, 8192)
})

t.test('a record is stored only when all before it are', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), done = [append(log, 1), append(log, 2), append(log, 3)]
  for (const i of [0, 3, 2]) file.seen[i]!.done()
  t.equal(log.storedLength, 0)
  file.seen[1]!.done()
  t.equal(log.storedLength, 3)
  await Promise.all(done)
})

t.test('a segment is given back only when the writes to it are over', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), done = [append(log, 1, BIG), append(log, 2, BIG)]
  log.trim(won(1))
  t.equal(pool.free, 2, 'header and record are on their way')
  file.seen[0]!.done()
  t.equal(pool.free, 2)
  file.seen[1]!.done()
  t.equal(pool.free, 3)
  for (const i of [2, 3]) file.seen[i]!.done()
  await Promise.all(done)
})

t.test('a deletion waits for the writes under way, and gives nothing back before all tombstones are there', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), done = [append(log, 1, BIG), append(log, 2, BIG)], deleted = log.delete()
  for (const each of file.seen.slice(0, 3)) each.done()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(file.seen.length, 4, 'a tombstone could be overtaken by the header')
  file.seen[3]!.done()
  await Promise.all(done)
  await new Promise((resolve) => setImmediate(resolve))
  t.same(file.seen.slice(4).map(({ offset }) => offset), [segmentOffset(0, SEGMENT_BYTES), segmentOffset(1, SEGMENT_BYTES)])
  file.seen[4]!.done()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(pool.free, 2)
  file.seen[5]!.done()
  await deleted
  t.equal(pool.free, 4)
})

t.test('a segment freed between two readers waits for the first of them only (H14)', async (t) => {
  const { pool } = fakePool()
  for (let i = 0; i < 4; i++) pool.take()
  const first = pool.pin()
  pool.give(2)
  const second = pool.pin()
  pool.give(3)
  t.equal(pool.free, 0)
  pool.unpin(first)
  t.same([pool.free, pool.take()], [1, 2])
  t.throws(() => pool.take(), /only when one is free/)
  pool.unpin(second)
  t.same([pool.free, pool.take()], [1, 3])
  pool.give(0)
  t.equal(pool.free, 1, 'without readers at once')
})

t.test('a reader that ends out of order frees nothing for those before it (H14)', async (t) => {
  const { pool } = fakePool()
  pool.take()
  const first = pool.pin(), second = pool.pin()
  pool.give(0)
  pool.unpin(second)
  t.equal(pool.free, 3)
  pool.unpin(first)
  t.equal(pool.free, 4)
})

t.test('segments are used in turn, so that wear is spread', async (t) => {
  const { pool } = fakePool()
  const order: number[] = []
  for (let i = 0; i < 8; i++) {
    order.push(pool.take())
    pool.give(order.at(-1)!)
  }
  t.same(order, [0, 1, 2, 3, 0, 1, 2, 3])
})

t.test('records out of order, or larger than a segment, are a bug that stops', async (t) => {
  const { pool } = fakePool()
  const log = fakeLog(pool)
  await t.rejects(append(log, 2), /record 2 follows 0/)
  await t.rejects(append(log, 1, SEGMENT_BYTES), /a record fits a segment/)
  await t.rejects(append(log, 1, 5000), /a record fits a segment/)
})
