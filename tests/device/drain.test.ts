import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, addressPayload, memoryTablePayload, ringFdPayload, statePayload, u64Payload } from '../../lib/client/payloads.js'
import { FEATURE, FLAG, MESSAGE, encodeMessage } from '../../lib/vhost/protocol.js'
import { limits } from '../../lib/limits.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, signalled, soon } from './device-lab.js'

const { read, write, flush } = REQUEST_KIND

t.test('GET_VRING_BASE answers when what was popped has been completed, and nothing is popped or written after it (trap 4)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  t.equal(await fe.stopRing(1), 0, 'a ring that never did anything')
  volume.hold = true
  for (const head of [0, 3]) ring.request(head, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the reads', 1000, () => volume.held.length === 2)
  await fe.enable(0, false)
  let stopped = false
  const base = fe.stopRing(0).then((value) => { stopped = true; return value })
  await soon()
  t.equal(stopped, false)
  volume.release(1)
  await soon()
  t.equal(stopped, false)
  volume.release()
  t.equal(await base, 2)
  t.same(ring.takeUsed().map(({ head, status }) => [head, status]), [[3, 0], [0, 0]], 'all of it is in the used ring by then')
  t.ok(signalled(ring.callFd))
  volume.takeAsked()
  ring.request(6, flush, 0)
  await soon()
  t.same(volume.takeAsked(), [])
  t.equal(ring.usedIdx, 2)
  t.notOk(signalled(ring.callFd))
  t.same(volume.life, ['activate disk#1', 'deactivate disk#1'])
  await fe.startRing(0, { base: 2 })
  volume.release()
  t.equal((await ring.waitUsed(1))[0]!.head, 6, 'the next start goes on there')
})

t.test('a drain has a bound: what hangs is completed with an error, and its late end writes nothing', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  volume.bytes.fill(0xee, 0, 512)
  volume.hold = true
  for (const head of [0, 3]) ring.request(head, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the reads', 1000, () => volume.held.length === 2)
  await fe.stopRing(1)
  const from = performance.now()
  t.equal(await fe.stopRing(0), 2)
  const ms = performance.now() - from
  t.ok(ms > limits.drainTimeoutMs - 50 && ms < limits.drainTimeoutMs + 1500, `${ms} ms`)
  t.same(ring.takeUsed().map(({ head, status }) => [head, status]), [[0, 1], [3, 1]])
  t.ok(warnings.some((m) => m.includes('2 requests unanswered')))

  const second = await frontEnd()
  second.rings[0]!.request(0, flush, 0)
  await soon()
  t.equal(second.rings[0]!.usedIdx, 0, 'nobody overtakes a request that is still at the volume')
  volume.hold = false
  volume.release()
  t.equal((await second.rings[0]!.waitUsed(1))[0]!.status, 0)
  t.equal(fe.memory.bytes[DATA], 0)
  t.equal(ring.usedIdx, 2)
})

t.test('the bound is one for all queues: a machine of many does not stand still for that much longer', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd()
  volume.hold = true
  for (const ring of fe.rings) ring.request(0, flush, 0)
  await until('the flushes', 1000, () => volume.held.length === 2)
  const from = performance.now()
  for (const { index } of fe.rings) t.equal(await fe.stopRing(index), 1)
  const ms = performance.now() - from
  t.ok(ms > limits.drainTimeoutMs - 50 && ms < limits.drainTimeoutMs + 1500, `${ms} ms`)
  t.same(fe.rings.map((ring) => ring.takeUsed().map(({ status }) => status)), [[1], [1]])

  volume.hold = false
  volume.release()
  for (const { index } of fe.rings) await fe.startRing(index)
  volume.hold = true
  fe.rings[0]!.request(0, flush, 0)
  await until('a flush', 1000, () => volume.held.length === 1)
  const base = fe.stopRing(0)
  setTimeout(() => volume.release(), 400)
  t.equal(await base, 2)
  t.same(fe.rings[0]!.takeUsed().map(({ status }) => status), [0], 'after a start there is all of the time again')
})

for (const how of ['reset', 'drain'] as const) {
  t.test(`what was left at the volume by a ${how} ends before anything newer begins, or it would overwrite it`, async (t) => {
    const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
    volume.hold = true
    ring.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
    await until('the write', 1000, () => volume.held.length === 1)
    if (how === 'reset') await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
    else for (const { index } of fe.rings) await fe.stopRing(index)
    ring.clear()
    volume.takeAsked()
    await fe.negotiate()
    for (const { index } of fe.rings) await fe.startRing(index, { base: 0 })
    ring.request(3, write, 0, [{ offset: DATA, bytes: 512 }])
    await soon()
    t.same(volume.takeAsked(), [])
    volume.hold = false
    volume.release()
    t.same(await ring.waitUsed(1), [{ head: 3, bytes: 1, status: 0 }])
    t.same(volume.takeAsked(), ['write 0+1'])
    t.same(volume.life, ['activate disk#1', 'deactivate disk#1', 'activate disk#1'])
  })
}

t.test('a front end that goes while its reset requests are still at the volume makes room for the next one', async (t) => {
  const { volume, frontEnd, server } = deviceLab(t), fe = await frontEnd()
  volume.hold = true
  fe.rings[0]!.request(0, write, 0, [{ offset: DATA, bytes: 512 }])
  await until('the write', 1000, () => volume.held.length === 1)
  await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  fe.channel.close()
  const next = await frontEnd()
  next.rings[0]!.request(0, flush, 0)
  await soon()
  t.equal(volume.held.length, 1)
  volume.hold = false
  volume.release()
  t.same(await next.rings[0]!.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
  t.equal(server.sessions, 1)
})

t.test('what a front end says while a ring drains is answered after the drain', async (t) => {
  const { volume, frontEnd, path } = deviceLab(t), fe = await frontEnd({ start: false }), ring = fe.rings[0]!
  fe.channel.close()
  const fd = native.connectUnix(path)
  t.teardown(() => native.closeFd(fd))
  const message = (request: number, payload: Uint8Array): Uint8Array => encodeMessage(request, FLAG.version, payload)
  const send = (bytes: Uint8Array, ...fds: number[]): void => { native.sendMessage(fd, bytes, 0, bytes.length, Int32Array.from(fds), fds.length) }
  send(message(MESSAGE.setFeatures, u64Payload(FEATURE.version1)))
  send(message(MESSAGE.setMemTable, memoryTablePayload([fe.region])), fe.memory.fd)
  send(message(MESSAGE.setVringNum, statePayload(0, ring.size)))
  send(message(MESSAGE.setVringAddr, addressPayload(0, ring.places)))
  volume.hold = true
  ring.request(0, flush, 0)
  send(message(MESSAGE.setVringKick, ringFdPayload(0, true)), ring.kickFd)
  await until('the flush', 1000, () => volume.held.length === 1)

  send(Buffer.concat([message(MESSAGE.getVringBase, statePayload(0, 0)), message(MESSAGE.getQueueNum, EMPTY)]))
  await soon()
  const answer = new Uint8Array(64)
  t.ok(native.recvMessage(fd, answer, 0, 64, new Int32Array(9)) < 0, 'nothing yet')
  volume.release()
  await until('both answers', 1000, () => native.recvMessage(fd, answer, 0, 40, new Int32Array(9)) === 40)
  const view = new DataView(answer.buffer)
  t.same([view.getUint32(0, true), view.getUint32(16, true), view.getUint32(20, true)], [MESSAGE.getVringBase, 1, MESSAGE.getQueueNum])
})
