import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { addressPayload, logPayload, u64Payload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { FEATURE, MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { BASIC, DATA, deviceLab, type RawFrontEnd } from './device-lab.js'
import type { Piece, RawRing } from './raw-ring.js'

const { read, write, flush, discard } = REQUEST_KIND
const GET_ID = 8
const PAGE = 4096
const LOG_BYTES = 64 * 1024
const LOGGING = BASIC | FEATURE.logAll

/** A bitmap that the device marks and the test reads and clears. */
class Log {
  readonly fd = native.memfd('log', LOG_BYTES, true)
  readonly #bytes = new Uint8Array(native.viewOf(native.mapShared(this.fd, LOG_BYTES, 0), LOG_BYTES))

  /** Pages marked since the last look, as offsets in the shared memory of `fe`, in pages. */
  take(fe: RawFrontEnd): number[] {
    const pages: number[] = []
    this.#bytes.forEach((byte, at) => {
      for (let bit = 0; bit < 8; bit++) if ((byte >> bit & 1) !== 0) pages.push(at * 8 + bit - fe.memory.guestAddress / PAGE)
    })
    this.#bytes.fill(0)
    return pages
  }

  async give(fe: RawFrontEnd, bytes = LOG_BYTES): Promise<void> {
    const { payload } = await fe.channel.call(MESSAGE.setLogBase, logPayload(bytes, 0), [this.fd])
    if (payload.byteLength !== 16 || payload.getBigUint64(0, true) !== BigInt(bytes)) throw new Error('the log is not echoed')
  }
}

const page = (offset: number): number => Math.floor(offset / PAGE)
const pagesOf = (...offsets: number[]): number[] => [...new Set(offsets.map(page))].sort((a, b) => a - b)

/** Logging as a migration switches it on, while the rings run. */
async function logging(fe: RawFrontEnd, log: Log, features = LOGGING, bytes = LOG_BYTES): Promise<void> {
  await log.give(fe, bytes)
  await fe.channel.acknowledge(MESSAGE.setFeatures, u64Payload(features))
  for (const { index, places, usedGuest } of fe.rings) {
    await fe.channel.acknowledge(MESSAGE.setVringAddr, addressPayload(index, { ...places, log: usedGuest }))
  }
}

const usedPage = (fe: RawFrontEnd, ring: RawRing): number => ring.usedGuest - fe.memory.guestAddress

async function pagesAfter(fe: RawFrontEnd, log: Log, head: number, type: number, pieces: readonly Piece[]): Promise<number[]> {
  const ring = fe.rings[0]!
  log.take(fe)
  ring.request(head, type, 0, pieces)
  const [done] = await ring.waitUsed(1)
  if (done!.status !== 0) throw new Error(`status ${done!.status}`)
  return log.take(fe)
}

t.test('what the device writes is marked, page by page, and nothing else (trap 10)', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, log = new Log()
  const used = usedPage(fe, ring), status = ring.statusAt(0), at = DATA + 0x10000
  await logging(fe, log)
  t.same(await pagesAfter(fe, log, 0, write, [{ offset: at, bytes: 8192 }]), pagesOf(used, status), 'a write: used ring and status')
  t.same(await pagesAfter(fe, log, 0, flush, []), pagesOf(used, status))
  t.same(await pagesAfter(fe, log, 0, read, [{ offset: at, bytes: 4096, write: true }]), pagesOf(used, status, at), 'a read of one page')
  t.same(await pagesAfter(fe, log, 0, read, [{ offset: at + 4095, bytes: 512, write: true }]), pagesOf(used, status, at, at + 4096), 'over a border')
  const pieces = [[0x8000, 8192], [0, 512], [0x4200, 512]].map(([from, bytes]) => ({ offset: at + from!, bytes: bytes!, write: true }))
  t.same(await pagesAfter(fe, log, 0, read, pieces), pagesOf(used, status, at, at + 0x4000, at + 0x8000, at + 0x9000), 'scattered buffers')
  t.same(await pagesAfter(fe, log, 0, GET_ID, [{ offset: at, bytes: 20, write: true }]), pagesOf(used, status, at))
  fe.memory.view.setUint32(at + 0x6000 + 8, 8, true)
  t.same(await pagesAfter(fe, log, 0, discard, [{ offset: at + 0x6000, bytes: 16 }]), pagesOf(used, status))
  // More than the device is to fill: what it does not write is not marked.
  t.same(await pagesAfter(fe, log, 0, GET_ID, [{ offset: at, bytes: 8192, write: true }]), pagesOf(used, status, at))
})

t.test('the used ring is marked only where its log flag is set, and where its log address says', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, log = new Log(), status = ring.statusAt(0)
  await logging(fe, log)
  await fe.channel.acknowledge(MESSAGE.setVringAddr, addressPayload(0, ring.places))
  t.same(await pagesAfter(fe, log, 0, flush, []), pagesOf(status))
  const elsewhere = DATA + 0x40000
  await fe.channel.acknowledge(MESSAGE.setVringAddr, addressPayload(0, { ...ring.places, log: fe.memory.guestAddress + elsewhere }))
  t.same(await pagesAfter(fe, log, 0, flush, []), pagesOf(status, elsewhere))
})

t.test('all of a large used ring is marked where it is written: elements, index and event index', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd({ size: 1024, features: BASIC | FEATURE.eventIdx }), ring = fe.rings[0]!, log = new Log()
  await logging(fe, log, LOGGING | FEATURE.eventIdx)
  const used = usedPage(fe, ring), status = ring.statusAt(0), event = used + 4 + 1024 * 8
  t.same(await pagesAfter(fe, log, 0, flush, []), pagesOf(used, event, status), 'the first element, the index and the event index')
  for (let i = 1; i < 600; i++) {
    ring.request(0, flush, 0)
    if (i % 100 === 99) await ring.waitUsed(100 - (i === 99 ? 1 : 0))
  }
  t.same(await pagesAfter(fe, log, 0, flush, []), pagesOf(used, used + 4 + 600 * 8, event, status), 'element 600 lies in the next page')
})

t.test('a request of before the logging is marked when it ends under it, and none is after it', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, log = new Log(), used = usedPage(fe, ring)
  volume.hold = true
  ring.request(0, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the read', 1000, () => volume.held.length === 1)
  await logging(fe, log)
  t.same(log.take(fe), [])
  volume.release()
  await ring.waitUsed(1)
  t.same(log.take(fe), pagesOf(used, ring.statusAt(0), DATA))
  volume.hold = false
  await fe.channel.acknowledge(MESSAGE.setFeatures, u64Payload(BASIC))
  t.same(await pagesAfter(fe, log, 0, read, [{ offset: DATA, bytes: 512, write: true }]), [])
})

t.test('after a new bitmap was taken no mark goes to the old one (trap 9)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, old = new Log(), log = new Log()
  await logging(fe, old)
  volume.hold = true
  ring.request(0, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the read', 1000, () => volume.held.length === 1)
  await log.give(fe)
  old.take(fe)
  volume.release()
  await ring.waitUsed(1)
  t.same(old.take(fe), [])
  t.same(log.take(fe), pagesOf(usedPage(fe, ring), ring.statusAt(0), DATA))
})

t.test('a bitmap that is too short for a page is not written beyond its end', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, log = new Log(), used = usedPage(fe, ring)
  // Eight pages of the shared memory: the used ring lies within, status bytes and buffers behind.
  await logging(fe, log, LOGGING, fe.memory.guestAddress / PAGE / 8 + 1)
  t.ok(page(used) < 8 && page(ring.statusAt(0)) >= 8)
  t.same(await pagesAfter(fe, log, 0, read, [{ offset: DATA, bytes: 512, write: true }]), pagesOf(used))
})
