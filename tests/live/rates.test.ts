import t from 'tap'
import { LogHistogram, type HistogramCounts } from '../../lib/core/log-histogram.js'
import { ratesBetween, savedSoFar } from '../../lib/live/rates.js'
import { hostMeasures, hostStatus, volumeMeasures, volumeStatus } from '../control/fake-host.js'

const us = (...values: number[]): HistogramCounts => {
  const histogram = new LogHistogram(4, 25)
  for (const value of values) histogram.add(value)
  return histogram.snapshot()
}
const counters = volumeStatus().counters, base = { source: 'guest', op: 'write' } as const, backing = { source: 'backing', op: 'write' } as const

const before = hostMeasures({
  atMs: 1000, volumes: [volumeMeasures({ latencies: [{ ...base, us: us(9e6) }, { ...backing, us: us(5000) }], readBytes: { log: 100, cache: 0, peer: 0, backing: 0, zero: 0 } })],
})
const after = hostMeasures({
  atMs: 3000,
  status: hostStatus({ volumes: [volumeStatus({ counters: { ...counters, guestReads: counters.guestReads + 4, guestWrites: counters.guestWrites + 6, guestReadBytes: counters.guestReadBytes + 8000, guestWriteBytes: counters.guestWriteBytes + 6000, backingWriteBytes: counters.backingWriteBytes + 2000, journalBytes: counters.journalBytes + 1000 } })] }),
  volumes: [volumeMeasures({
    latencies: [{ ...base, us: us(9e6, 100, 100, 100, 900) }, { ...backing, us: us(5000, 5000) }], readBytes: { log: 4100, cache: 2000, peer: 500, backing: 1500, zero: 0 },
    lags: [{ host: 'b', records: 1, owesMs: 3 }, { host: 'c', records: 9, owesMs: 40 }],
  })],
  process: { ...hostMeasures().process, cpuMs: 2500 },
})

t.test('only what came in between counts, by the second', async (t) => {
  const { seconds, cpu, volumes: [v] } = ratesBetween(before, after)
  t.equal(seconds, 2)
  t.equal(cpu, 0.5)
  t.match(v, {
    perSecond: { read: 2, write: 3, flush: 0 }, bytesPerSecond: { read: 4000, write: 3000 }, destagedPerSecond: 1000, lagMs: 40,
    readBytesPerSecond: { log: 2000, cache: 1000, peer: 250, backing: 750, zero: 0 }, hitRate: 0.75,
  })
  const write = v!.latencies['guest write']!
  t.equal(write.perSecond, 2, 'the slow one of before is not among them')
  t.ok(write.p50! > 64e-6 && write.p50! <= 128e-6)
  t.ok(write.p99! > 512e-6 && write.p99! <= 1024e-6)
  // Ten requests of the guest, one of the backing; 14 000 bytes, of which the backing read 1 500 and wrote 2 000, with 1 000 more for the journal.
  t.equal(v!.saved.requests, 0.9)
  t.equal(v!.saved.bytesPerSecond, (14_000 - 4500) / 2)
})

t.test('nothing happened', async (t) => {
  const [v] = ratesBetween(before, { ...before, atMs: 2000 }).volumes
  t.match(v, { hitRate: null, perSecond: { read: 0, write: 0, flush: 0 }, latencies: { 'guest write': { perSecond: 0, p50: null, p99: null } }, saved: { requests: null, bytesPerSecond: 0 } })
})

t.test('a volume that was not there before, and a daemon that began anew', async (t) => {
  t.same(ratesBetween({ ...before, volumes: [] }, after).volumes, [])
  t.match(ratesBetween(after, { ...before, atMs: 4000 }).volumes[0], { perSecond: { read: 0, write: 0 }, bytesPerSecond: { read: 0 } }, 'no negative rates')
})

t.test('saved since the start', async (t) => {
  const [status] = after.status.volumes, [measures] = after.volumes
  const c = status!.counters
  t.same(savedSoFar(status!, measures!), {
    requests: c.guestReads + c.guestWrites + c.guestFlushes - 2, bytes: c.guestReadBytes + c.guestWriteBytes - 1500 - c.backingWriteBytes - c.journalBytes,
  })
})
