import { ftruncateSync, readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { GUEST_BASE } from '../../lib/client/memory.js'
import { EMPTY, inflightPayload, logPayload, memoryTablePayload, regionPayload, ringFdPayload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, deviceLab, signalled, soon } from './device-lab.js'
import { NEXT } from './raw-ring.js'

const { write, flush } = REQUEST_KIND
const NOWHERE = GUEST_BASE * 8
const MEMORY_END = DATA + 1024 * 1024

t.test('ring addresses that make no sense break the queue and not the process', async (t) => {
  const { frontEnd, warnings } = deviceLab(t)
  for (const [shared, desc, avail, used, says] of [
    [false, 0, 0, 0, 'outside the shared memory'], [true, 8, 0x4000, 0x5000, 'is not aligned to 16'],
    [true, 0, 0x4000, 0x5002, 'is not aligned to 4'], [true, 0, MEMORY_END - 8, 0x5000, 'outside the shared memory'],
  ] as const) {
    const fe = await frontEnd({ start: false }), ring = fe.rings[0]!, from = shared ? fe.memory.userAddress : 0
    Object.defineProperty(ring, 'places', { value: { desc: from + desc, used: from + used, avail: from + avail } })
    await fe.negotiate()
    await fe.shareMemory()
    await fe.startRing(0)
    t.match(warnings.at(-1), says)
    t.ok(signalled(ring.errFd))
    await fe.startRing(1)
    fe.rings[1]!.request(0, flush, 0)
    t.equal((await fe.rings[1]!.waitUsed(1))[0]!.status, 0)
    fe.channel.close()
    await soon()
  }
})

t.test('a region at an odd place, or a descriptor that cannot be waited on, ends no more than the connection', async (t) => {
  const { volume, frontEnd, warnings, infos } = deviceLab(t), odd = await frontEnd({ start: false }), ring = odd.rings[0]!
  const from = odd.memory.userAddress
  await odd.negotiate()
  // Address and offset are odd together: the sum is aligned, each of them is not.
  const place = { guestAddress: odd.region.guestAddress + 1, sizeBytes: MEMORY_END - 1, userAddress: from + 1, offsetBytes: 1 }
  await odd.channel.send(MESSAGE.setMemTable, memoryTablePayload([place]), [odd.memory.fd])
  Object.defineProperty(ring, 'places', { value: { desc: from + 0x10, avail: from + 0x4000, used: from + 0x5000 } })
  await odd.startRing(0)
  t.match(warnings.at(-1), /is not aligned/)
  t.ok(signalled(ring.errFd))
  odd.channel.close()

  const file = await frontEnd({ start: false })
  await file.negotiate()
  await file.shareMemory()
  await file.channel.send(MESSAGE.setVringKick, ringFdPayload(0, true), [file.memory.fd])
  await file.ended()
  t.match(infos.at(-1), /kick descriptor/)
  t.same(volume.life, [])
  const next = await frontEnd()
  next.rings[0]!.request(0, flush, 0)
  t.equal((await next.rings[0]!.waitUsed(1))[0]!.status, 0)
})

t.test('memory that is truncated under us ends the connection, with nothing finished; the next front end is served', async (t) => {
  const { volume, frontEnd, warnings } = deviceLab(t), fe = await frontEnd({ start: false }), ring = fe.rings[0]!
  const fd = native.memfd('truncated', 65536, false), place = { guestAddress: NOWHERE, sizeBytes: 65536, userAddress: 0x1000, offsetBytes: 0 }
  t.teardown(() => native.closeFd(fd))
  await fe.negotiate()
  await fe.channel.send(MESSAGE.setMemTable, memoryTablePayload([fe.region, place]), [fe.memory.fd, fd])
  await fe.startRing(0)
  ftruncateSync(fd, 0)
  ring.build(0, write, 0, [{ offset: DATA, bytes: 512 }])
  ring.descriptor(1, NOWHERE, 512, NEXT, 2)
  ring.offer([0])
  ring.kick()
  await fe.ended()
  t.match(warnings.at(-1), /memory was truncated/)
  t.equal(ring.usedIdx, 0)
  volume.takeAsked()
  const next = await frontEnd()
  next.rings[0]!.request(0, flush, 0)
  t.equal((await next.rings[0]!.waitUsed(1))[0]!.status, 0)
})

t.test('a session leaves nothing open behind, whatever descriptors it was sent', async (t) => {
  const lab = deviceLab(t)
  const open = (): number => readdirSync('/proc/self/fd').length
  const mapped = (): number => readFileSync('/proc/self/maps', 'utf8').split('/memfd:').length
  const session = async (): Promise<void> => {
    const fe = await lab.frontEnd(), { channel, memory } = fe, fd = native.memfd('extra', 65536, true)
    const extra = { guestAddress: NOWHERE, sizeBytes: 65536, userAddress: 0x1000, offsetBytes: 0 }
    await channel.send(MESSAGE.setOwner, EMPTY, [fd, fd, fd])
    await channel.send(MESSAGE.setLogFd, EMPTY, [fd])
    await channel.acknowledge(MESSAGE.addMemReg, regionPayload(extra), [fd])
    for (let twice = 0; twice < 2; twice++) {
      await channel.call(MESSAGE.setLogBase, logPayload(4096, 0), [fd])
      await channel.acknowledge(MESSAGE.setBackendReqFd, EMPTY, [fd, fd])
      for (const request of [MESSAGE.setVringCall, MESSAGE.setVringErr, MESSAGE.setVringKick]) {
        await channel.acknowledge(request, ringFdPayload(0, true), [fe.rings[1]!.kickFd])
      }
      await fe.shareMemory()
    }
    for (const { index } of fe.rings) await fe.stopRing(index)
    for (let twice = 0; twice < 2; twice++) {
      const { fds } = await channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, 2, 16))
      await channel.acknowledge(MESSAGE.setInflightFd, inflightPayload(4096, 0, 2, 16), fds)
      for (const each of fds) native.closeFd(each)
    }
    await channel.send(MESSAGE.remMemReg, regionPayload(extra), [fd, memory.fd])
    await fe.ended()
    fe.free()
    native.closeFd(fd)
    await until('the end of the session', 1000, () => lab.server.sessions === 0)
  }
  await session()
  const before = [open(), mapped()]
  for (let i = 0; i < 3; i++) await session()
  t.same([open(), mapped()], before)
})
