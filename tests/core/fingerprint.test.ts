import fc from 'fast-check'
import t from 'tap'
import {
  CUT_SAMPLES, CutSampler, FINGERPRINT_BLOCKS, fingerprintDifference, fingerprintPlaces, logsAreComplete, type Fingerprint,
} from '../../lib/core/fingerprint.js'
import { epoch, won } from '../../lib/core/units.js'
import { claimOf } from '../claim/claims.js'

t.test('the places are in the image, in order, no block twice, the first and the last among them', async () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 53 - 1 }), (size) => {
    const places = fingerprintPlaces(size), last = (Math.floor(size / 4096) - 1) * 4096
    return places.length === Math.min(FINGERPRINT_BLOCKS, Math.floor(size / 4096)) && places.every((at, i) => at % 4096 === 0 && (i === 0 || at > places[i - 1]!)) &&
      (places.length === 0 || places[0] === 0 && places.at(-1) === (places.length === 1 ? 0 : last))
  }))
})

t.test('what differs, in words', async (t) => {
  const before: Fingerprint = { sizeBytes: 12288, modifiedMs: 0, blocks: '00000001ffffffff0000000a' }
  t.same(fingerprintDifference(before, before), { blocks: 3, content: [], time: null })
  t.same(fingerprintDifference(before, { ...before, modifiedMs: 1 }).time, 'it was last modified at 1970-01-01T00:00:00.001Z and not at 1970-01-01T00:00:00.000Z')
  t.equal(fingerprintDifference(before, { ...before, modifiedMs: null }).time, null, 'a time that means nothing')
  t.equal(fingerprintDifference({ ...before, modifiedMs: 9e15 }, before).time, 'it was last modified at 1970-01-01T00:00:00.000Z and not at 9000000000000000 ms', 'any number may come from a claim')
  t.same(fingerprintDifference(before, { ...before, sizeBytes: 8192, blocks: '00000001fffffffe--------' }).content,
    ['it had 12288 bytes and has 8192', '2 of 3 sampled blocks are others'])
})

t.test('records that no inherited log has leave it open what is on the backing', async (t) => {
  const claim = { ...claimOf(9), base: won(10), start: won(30) }
  const log = (start: number, kept: number) => ({ epoch: epoch(1), start: won(start), kept, holders: claim.set })
  const complete = (...inherited: ReturnType<typeof log>[]): boolean => logsAreComplete({ ...claim, inherited })
  t.ok(complete(log(8, 12), log(20, 10)), 'from base on, without a gap')
  t.notOk(complete(log(11, 19)), 'the first one is missing')
  t.notOk(complete(log(10, 5), log(16, 14)), 'one in the middle')
  t.notOk(complete(log(10, 19)), 'the last one, as after a dead write-through owner')
  t.notOk(complete())
  t.ok(logsAreComplete({ ...claim, start: won(10) }), 'nothing is dirty')
})

// --- samples of a cut ---------------------------------------------------------------------------------------------------

/** The first byte tells versions apart. */
const sumOfFirst = (bytes: Uint8Array): number => bytes[0]!
const bytes = (value: number, sectors: number): Uint8Array => new Uint8Array(sectors * 512).fill(value)

t.test('samples are the last word of a cut at their places, whatever it wrote before', async (t) => {
  const write = fc.record({ lba: fc.integer({ min: 0, max: 200 }), sectors: fc.integer({ min: 1, max: 40 }), zero: fc.boolean() })
  let kept = 0
  fc.assert(fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
    const sampler = new CutSampler(sumOfFirst), disk = new Uint8Array(300)
    sampler.data(0, 8, bytes(0xff, 8))
    sampler.reset()
    for (const [i, { lba, sectors, zero }] of writes.entries()) {
      if (zero) sampler.zero(lba, sectors)
      else sampler.data(lba, sectors, bytes(i + 1, sectors))
      disk.fill(zero ? 0 : i + 1, lba, lba + sectors)
    }
    kept += sampler.samples.length
    return sampler.samples.length <= CUT_SAMPLES && sampler.samples.every(({ lba, sectors, crc }) =>
      sectors >= 1 && sectors <= 8 && disk.subarray(lba, lba + sectors).every((version) => version === crc && crc !== 0))
  }))
  t.ok(kept > 0)
})

t.test('however many writes a cut has, its samples are spread over all of it', async (t) => {
  for (const count of [1, 5, 6, 7, 100, 4097]) {
    const sampler = new CutSampler(sumOfFirst)
    let sums = 0
    for (let i = 0; i < count; i++) sampler.data(i * 64, 64, new Proxy(bytes(1, 64), { get: (target, key) => {
      const value: unknown = Reflect.get(target, key)
      if (key === 'subarray') return (from: number, to: number) => { sums++; return target.subarray(from, to) }
      return value
    } }))
    const { samples } = sampler
    t.ok(samples.length >= Math.min(count, CUT_SAMPLES / 2), `${samples.length} of ${count}`)
    t.ok(samples.length < 2 || samples.at(-1)!.lba >= count * 64 / 3, 'not only its beginning')
    t.ok(sums <= CUT_SAMPLES + Math.ceil(Math.log2(count + 1)) * CUT_SAMPLES / 2, `${sums} checksums`)
  }
})
