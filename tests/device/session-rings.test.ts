import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { EMPTY, addressPayload, ringFdPayload, statePayload } from '../../lib/client/payloads.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, signalled, soon } from './device-lab.js'
import { STATUS_UNWRITTEN } from './raw-ring.js'

const { read, write, flush } = REQUEST_KIND

t.test('a disabled ring completes what it has and pops nothing; a kick meanwhile is not lost (trap 2, 3)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  volume.hold = true
  ring.request(0, write, 5, [{ offset: DATA, bytes: 512 }])
  await until('the write', 1000, () => volume.held.length === 1)
  await fe.enable(0, false)
  volume.hold = false
  volume.release()
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
  ring.request(3, flush, 0)
  fe.rings[1]!.request(0, flush, 0)
  t.equal((await fe.rings[1]!.waitUsed(1)).length, 1, 'another ring goes on')
  t.equal(ring.usedIdx, 1)
  await fe.enable(0, true)
  t.same(await ring.waitUsed(1), [{ head: 3, bytes: 1, status: 0 }])
})

t.test('a volume without room leaves requests in the ring, in their order', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  volume.room = 1
  for (const head of [0, 3, 6]) ring.build(head, write, head, [{ offset: DATA, bytes: 512 }])
  ring.offer([0, 3, 6])
  ring.kick()
  t.equal((await ring.waitUsed(1)).length, 1)
  await soon()
  t.same(volume.takeAsked(), ['write 0+1'])
  volume.makeRoom(2)
  t.same((await ring.waitUsed(2)).map(({ head }) => head), [3, 6])
  t.same(volume.takeAsked(), ['write 3+1', 'write 6+1'])
})

t.test('a descriptor to be called on may change while the ring runs, or be missing (trap 7, 16)', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!, other = native.eventfd(0)
  t.teardown(() => native.closeFd(other))
  volume.hold = true
  ring.request(0, flush, 0)
  await until('the flush', 1000, () => volume.held.length === 1)
  await fe.channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, true), [other])
  signalled(other)
  signalled(ring.callFd)
  volume.release()
  await ring.waitUsed(1)
  t.same([signalled(other), signalled(ring.callFd)], [true, false])
  await fe.channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, false))
  ring.request(0, flush, 0)
  await until('the flush', 1000, () => volume.held.length === 1)
  volume.release()
  await ring.waitUsed(1)
  t.same([signalled(other), signalled(ring.callFd)], [false, false])
  await fe.channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, true), [other])
  t.ok(signalled(other), 'what nobody was told of is told now')
})

t.test('messages come in the order that Cloud Hypervisor and QEMU like (trap 7)', async (t) => {
  const { frontEnd } = deviceLab(t), fe = await frontEnd({ start: false }), ring = fe.rings[0]!, { channel } = fe
  await channel.send(MESSAGE.setVringCall, ringFdPayload(0, true), [ring.callFd])
  await channel.send(MESSAGE.setVringErr, ringFdPayload(0, true), [ring.errFd])
  await channel.send(MESSAGE.setVringAddr, addressPayload(0, ring.places))
  await channel.send(MESSAGE.setVringBase, statePayload(0, 0))
  await channel.send(MESSAGE.setVringNum, statePayload(0, ring.size))
  await fe.negotiate()
  await fe.shareMemory()
  ring.request(0, flush, 0)
  await channel.send(MESSAGE.setVringEnable, statePayload(0, 1))
  await channel.send(MESSAGE.setVringKick, ringFdPayload(0, true), [ring.kickFd])
  t.equal((await ring.waitUsed(1))[0]!.status, 0)
})

t.test('a start is told once, when all rings that were started are enabled, and a guest cannot fill the log with it', async (t) => {
  const { frontEnd, infos } = deviceLab(t), fe = await frontEnd({ start: false }), told = (): string[] => infos.filter((m) => m.includes('started'))
  await fe.negotiate()
  await fe.shareMemory()
  for (const { index } of fe.rings) await fe.startRing(index, { enable: false })
  await fe.enable(0, true)
  t.same(told(), [], 'the front end is not done yet')
  await fe.enable(1, true)
  t.same(told(), ['disk#1: started, 2 rings, split, features 0x150000200'])
  await fe.enable(1, false)
  await fe.enable(1, true)
  t.equal(told().length, 1)
  for (let i = 0; i < 100; i++) {
    for (const { index } of fe.rings) await fe.stopRing(index)
    for (const { index } of fe.rings) await fe.startRing(index)
  }
  t.ok(told().length > 50 && told().length < 80, `${told().length} lines of 101 starts`)
})

t.test('a reset device answers nothing more, and begins anew', async (t) => {
  const { volume, frontEnd } = deviceLab(t), fe = await frontEnd(), ring = fe.rings[0]!
  volume.bytes.fill(0xee, 0, 512)
  volume.hold = true
  ring.request(0, read, 0, [{ offset: DATA, bytes: 512, write: true }])
  await until('the read', 1000, () => volume.held.length === 1)
  await fe.channel.acknowledge(MESSAGE.resetDevice, EMPTY)
  volume.hold = false
  volume.release()
  await sleep(20)
  t.same([ring.usedIdx, ring.status(0), fe.memory.bytes[DATA]], [0, STATUS_UNWRITTEN, 0], 'the guest\'s memory is its own again')
  ring.clear()
  await fe.negotiate()
  for (const { index } of fe.rings) await fe.startRing(index)
  ring.request(0, flush, 0)
  t.same(await ring.waitUsed(1), [{ head: 0, bytes: 1, status: 0 }])
})
