/**
 * H5: after a failed write or flush nobody knows what is on the disk, and the next success proves nothing. A disk that
 * fails on demand is not to be had here, so it is a fake one.
 */
import t from 'tap'
import { operation } from '../../lib/io/operation.js'
import type { Superblock } from '../../lib/region/layout.js'
import { SuperblockWriter } from '../../lib/region/superblock-writer.js'
import { append, fakeLog, fakePool } from './fake-file.js'
import { SEGMENT_BYTES } from './region-lab.js'

const EIO = -5, ENOSPC = -28
const failed = { message: 'I/O error, errno 5' }

t.test('after one failed write every later write and flush fails, and none reaches the disk', async (t) => {
  const { file, pool } = fakePool()
  const first = operation((target) => pool.write(0, 4096, 0, false, target, 0))
  file.seen[0]!.done(ENOSPC)
  await t.rejects(first, { message: 'I/O error, errno 28' }, 'the error itself')
  t.match(pool.failure, /^a write or flush of \/fake\/cache failed: .*28/)
  await t.rejects(operation((target) => pool.write(0, 4096, 0, false, target, 0)), failed)
  await t.rejects(operation((target) => pool.flush(target, 0)), failed)
  t.equal(file.seen.length, 1)
  t.match(pool.failure, /28/, 'the first reason stays')
})

t.test('after one failed flush no write is taken, not even one that would succeed', async (t) => {
  const { file, pool } = fakePool()
  const flush = operation((target) => pool.flush(target, 0))
  file.seen[0]!.done(EIO)
  await t.rejects(flush, failed)
  await t.rejects(operation((target) => pool.write(0, 4096, 0, true, target, 0)), failed)
  await t.rejects(operation((target) => pool.flush(target, 0)), failed)
  t.equal(file.seen.length, 1)
})

t.test('a refused write is answered later, never while it is being submitted', async (t) => {
  const { file, pool } = fakePool()
  pool.flush({ complete: () => undefined }, 0)
  file.seen[0]!.done(EIO)
  const results: number[] = []
  pool.write(0, 4096, 0, false, { complete: (token, result) => results.push(token, result) }, 7)
  t.same(results, [])
  await new Promise((resolve) => setImmediate(resolve))
  t.same(results, [7, EIO])
})

t.test('a failed segment header fails every record of the segment, whenever they complete', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), done = [append(log, 1), append(log, 2)]
  const outcomes = Promise.allSettled(done)
  file.seen[1]!.done()
  file.seen[0]!.done(EIO)
  file.seen[2]!.done()
  t.match(await outcomes, [{ status: 'rejected', reason: failed }, { status: 'rejected', reason: failed }])
  t.equal(log.storedLength, 0)
  await t.rejects(append(log, 3), failed)
  t.equal(file.seen.length, 3)
})

t.test('a failed record is a hole that no later one closes', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), outcomes = Promise.allSettled([append(log, 1), append(log, 2)])
  file.seen[0]!.done()
  file.seen[1]!.done(EIO)
  file.seen[2]!.done()
  t.match(await outcomes, [{ status: 'rejected', reason: failed }, { status: 'fulfilled', value: 8192 }])
  t.equal(log.storedLength, 0)
})

t.test('segments whose tombstones failed are not used again', async (t) => {
  const { file, pool } = fakePool()
  const log = fakeLog(pool), stored = append(log, 1)
  for (const each of file.seen.splice(0)) each.done()
  await stored
  const deleted = log.delete()
  t.equal(pool.free, 3)
  file.seen[0]!.done(EIO)
  await deleted
  t.equal(pool.free, 3)
})

t.test('a superblock is not written over the good slot after the other one failed', async (t) => {
  const { file, pool } = fakePool()
  const superblock: Superblock = {
    incarnation: 'a'.repeat(32), host: 'alpha', segmentBytes: SEGMENT_BYTES, segmentCount: 4, createdMs: 0, generation: 4, volumes: new Map(), checkpoint: null, boot: null, powerLosses: 0,
  }
  const writer = new SuperblockWriter(pool, superblock)
  t.teardown(() => writer.close())
  const save = writer.save(true), next = writer.save(false)
  const outcomes = Promise.allSettled([save, next])
  file.seen[0]!.done(EIO)
  t.match(await outcomes, [{ status: 'rejected', reason: failed }, { status: 'rejected', reason: failed }])
  await t.rejects(writer.save(false), failed)
  t.equal(file.seen.length, 1)
})
