import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, configPayload, ringFdPayload, statePayload, u64Payload } from '../../lib/client/payloads.js'
import { BACKEND_MESSAGE, FEATURE, FLAG, MESSAGE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { limits } from '../../lib/limits.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { BASIC, DATA, deviceLab, signalled, soon } from './device-lab.js'
import { CAPACITY_SECTORS } from './memory-volume.js'
import { STATUS_UNWRITTEN } from './raw-ring.js'

const { read, write, flush } = REQUEST_KIND
const GET_ID = 8
const WCE_AT = 32

t.test('a message that asks for an answer gets exactly one, and none before that was agreed (trap 12)', async (t) => {
  const fe = await deviceLab(t).frontEnd({ start: false })
  await fe.channel.call(MESSAGE.getFeatures, EMPTY, [], FLAG.needReply)
  // Not agreed yet: the next answer would be taken for the one of this message.
  const { payload } = await fe.channel.call(MESSAGE.getQueueNum, EMPTY)
  t.equal(payload.getBigUint64(0, true), BigInt(limits.queuesMax))
  await fe.negotiate()
  await fe.channel.acknowledge(MESSAGE.setOwner, EMPTY)
  t.equal(await fe.channel.callU64(MESSAGE.getMaxMemSlots, EMPTY), BigInt(limits.memorySlotsMax))
  const features = await fe.channel.call(MESSAGE.getFeatures, EMPTY, [], FLAG.needReply)
  t.equal(features.payload.getBigUint64(0, true) & BASIC, BASIC)
  const base = await fe.channel.call(MESSAGE.getVringBase, statePayload(1, 0), [], FLAG.needReply)
  t.equal(base.payload.byteLength, 8)
  await soon()
  t.equal(fe.lost, null, 'no second answer came')
})

t.test('a front end without REPLY_ACK gets no answer that it does not expect', async (t) => {
  const fe = await deviceLab(t).frontEnd({ start: false })
  await fe.negotiate(BASIC, PROTOCOL_FEATURE.config)
  const answer = fe.channel.call(MESSAGE.setOwner, EMPTY, [], FLAG.needReply)
  const outcome = await Promise.race([answer.then(() => 'answered', () => 'failed'), sleep(150).then(() => 'silence')])
  t.equal(outcome, 'silence')
})

t.test('what makes no sense ends the connection with its reason, and the next one is served', async (t) => {
  const lab = deviceLab(t)
  const table = new Uint8Array(8)
  table[0] = 9
  for (const [request, payload, reason] of [
    [999, EMPTY, 'message 999 is not known'], [MESSAGE.setFeatures, u64Payload(1n << 60n), 'not all offered'],
    [MESSAGE.setVringNum, statePayload(limits.queuesMax, 16), `queue ${limits.queuesMax} of`],
    [MESSAGE.setVringNum, statePayload(0, 0), 'a queue of 0'], [MESSAGE.setVringNum, statePayload(0, 24), 'a queue of 24'],
    [MESSAGE.setVringNum, statePayload(0, 65536), 'a queue of 65536'],
    [MESSAGE.setVringNum, new Uint8Array(4), 'a payload of 4 bytes'], [MESSAGE.setMemTable, table, 'a memory table of 9'],
    [MESSAGE.setVringKick, ringFdPayload(0, false), 'polling is not supported'],
    [MESSAGE.setVringCall, ringFdPayload(0, true), 'descriptor is missing'],
    [MESSAGE.getConfig, configPayload(200, 100), 'config bytes'], [MESSAGE.setLogBase, new Uint8Array(16), 'without a descriptor'],
    [MESSAGE.setInflightFd, new Uint8Array(24), 'an inflight region'], [MESSAGE.addMemReg, new Uint8Array(40), 'makes no sense'],
  ] as const) {
    const fe = await lab.frontEnd({ start: false })
    await fe.channel.send(request, payload)
    t.match((await fe.ended()).message, /closed the connection|errno 104/)
    t.ok(lab.infos.at(-1)!.includes(reason), `${lab.infos.at(-1)} says: ${reason}`)
  }
  const fe = await lab.frontEnd()
  fe.rings[0]!.request(0, flush, 0)
  t.same(await fe.rings[0]!.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
})

t.test('the config space answers as much as is asked, and only the write cache can be written (trap 15)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd()
  for (const size of [8, 36, 60, 256]) {
    const { payload } = await fe.channel.call(MESSAGE.getConfig, configPayload(0, size))
    t.equal(payload.byteLength, 12 + size)
    t.equal(payload.getBigUint64(12, true), BigInt(CAPACITY_SECTORS))
  }
  const wce = async (): Promise<number> => (await fe.channel.call(MESSAGE.getConfig, configPayload(WCE_AT, 1))).payload.getUint8(12)
  t.equal(await wce(), 1)
  t.same(volume.writeCache, [true], 'as the volume was made')
  await fe.channel.acknowledge(MESSAGE.setConfig, configPayload(WCE_AT, 1, Uint8Array.of(0)))
  t.equal(await wce(), 0)
  t.same(volume.writeCache, [true, false])
  await t.rejects(fe.channel.acknowledge(MESSAGE.setConfig, configPayload(0, 8, Uint8Array.of(1))), { message: /refused setConfig/ })
  await fe.channel.acknowledge(MESSAGE.setConfig, configPayload(0, 8, Uint8Array.of(1), 1))
  t.equal(volume.geometry.capacitySectors, CAPACITY_SECTORS, 'what comes with a migration is taken, and changes nothing')
})

t.test('a driver that cannot flush finds its writes durable', async (t) => {
  const { volume, frontEnd } = deviceLab(t)
  await frontEnd({ features: BASIC & ~FEATURE.flush })
  t.same(volume.writeCache, [false])
})

t.test('the serial is told, over as many buffers as the driver likes', async (t) => {
  const { frontEnd } = deviceLab(t, { serial: '0123456789abcdefghij' }), fe = await frontEnd(), ring = fe.rings[0]!
  const text = (at: number, bytes: number): string => Buffer.from(fe.memory.bytes.subarray(at, at + bytes)).toString('latin1')
  ring.request(0, GET_ID, 0, [{ offset: DATA, bytes: 20, write: true }])
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 21, status: 0 }])
  t.equal(text(DATA, 21), '0123456789abcdefghij\0')
  ring.request(4, GET_ID, 0, [{ offset: DATA + 100, bytes: 7, write: true }, { offset: DATA + 200, bytes: 5, write: true }])
  t.same(await ring.waitUsed(1), [{ head: 4, bytes: 13, status: 0 }])
  t.equal(text(DATA + 100, 8) + text(DATA + 200, 6), '0123456\x00789ab\x00')
})

t.test('a request of a type that nobody knows is not supported, and the queue goes on', async (t) => {
  const fe = await deviceLab(t).frontEnd(), ring = fe.rings[0]!
  ring.request(0, 77, 0, [{ offset: DATA, bytes: 512 }])
  ring.request(3, write, 0, [{ offset: DATA, bytes: 512 }])
  t.same((await ring.waitUsed(2)).map(({ head, status }) => [head, status]), [[0, 2], [3, 0]])
})

t.test('a second front end is answered in full, and is served when the first has gone (trap 20)', async (t) => {
  const { volume, frontEnd, infos } = deviceLab(t), first = await frontEnd()
  volume.hold = true
  first.rings[0]!.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
  await until('the write', 1000, () => volume.held.length === 1)
  volume.takeAsked()
  const second = await frontEnd()
  second.rings[0]!.request(0, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await soon()
  t.same(volume.takeAsked(), [], 'nothing is popped')
  t.ok(infos.some((m) => m.includes('disk#2 waits for disk#1')))
  t.equal(await second.channel.callU64(MESSAGE.getQueueNum, EMPTY), BigInt(limits.queuesMax))

  first.channel.close()
  await soon()
  t.same(volume.takeAsked(), [], 'the first one\'s write is still under way')
  volume.hold = false
  volume.release()
  t.same((await second.rings[0]!.waitUsed(1)).map(({ status }) => status), [0])
  t.same(volume.takeAsked(), ['read 0+1'])
  t.same(volume.life, ['activate disk#1', 'deactivate disk#1', 'activate disk#2'])
  t.equal(first.rings[0]!.status(0), STATUS_UNWRITTEN, 'the first one\'s guest is not written any more')
})

t.test('a changed size is told to a front end that runs, and to another when it starts (trap 13, 14)', async (t) => {
  const { server, frontEnd } = deviceLab(t), fe = await frontEnd({ start: false })
  const [ours, theirs] = native.socketPair()
  t.teardown(() => { native.closeFd(ours) })
  const told = (): number | null => {
    const bytes = new Uint8Array(64)
    const got = native.recvMessage(ours, bytes, 0, 64, new Int32Array(9))
    return got === 12 ? new DataView(bytes.buffer).getUint32(0, true) : null
  }
  await fe.negotiate()
  await fe.channel.acknowledge(MESSAGE.setBackendReqFd, EMPTY, [theirs])
  native.closeFd(theirs)
  server.configChanged()
  t.equal(told(), null, 'not while it is stopped')
  await fe.shareMemory()
  await fe.startRing(0)
  t.equal(told(), BACKEND_MESSAGE.configChange)
  t.equal(told(), null, 'once')
  server.configChanged()
  t.equal(told(), BACKEND_MESSAGE.configChange)
})

t.test('without protocol features a ring is enabled from its start (trap 2)', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd({ start: false })
  await fe.negotiate(FEATURE.version1 | FEATURE.flush, 0n)
  await fe.shareMemory()
  await fe.startRing(0, { enable: false })
  fe.rings[0]!.request(0, flush, 0)
  t.equal((await fe.rings[0]!.waitUsed(1))[0]!.status, 0)
})

t.test('nothing is popped before the volume is here, and everything when it comes', async (t) => {
  const { volume, frontEnd } = deviceLab(t)
  volume.owned = false
  const fe = await frontEnd()
  fe.rings[0]!.request(0, flush, 0)
  await soon()
  t.same(volume.takeAsked(), [])
  volume.arrive()
  t.equal((await fe.rings[0]!.waitUsed(1))[0]!.status, 0)
  t.ok(signalled(fe.rings[0]!.callFd))
})
