/** The control messages one by one, as docs/conformance.md tells them: what is answered, what is refused, what ends a connection. */
import { readSync } from 'node:fs'
import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { Channel } from '../../lib/client/channel.js'
import { VhostClient } from '../../lib/client/front-end.js'
import {
  EMPTY, addressPayload, configPayload, inflightPayload, logPayload, memoryTablePayload, regionPayload, ringFdPayload, statePayload, u64Payload,
} from '../../lib/client/payloads.js'
import { FEATURE, FLAG, MESSAGE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { MessageSocket } from '../../fixtures/lab/message-socket.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const MIB = 1024 * 1024
const FEATURES = FEATURE.protocolFeatures | FEATURE.version1

async function serve(t: Test, ...more: string[]): Promise<string> {
  const work = new Workspace('conform')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', 16 * MIB)
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, ...more])
  return work.file('s')
}

/** A connection that has agreed on features, REPLY_ACK among them. */
async function open(socket: string): Promise<Channel> {
  const channel = await Channel.open(socket, 3000, () => undefined)
  await channel.send(MESSAGE.setProtocolFeatures, u64Payload(await channel.callU64(MESSAGE.getProtocolFeatures, EMPTY)))
  await channel.acknowledge(MESSAGE.setFeatures, u64Payload(FEATURES))
  return channel
}

async function ends(t: Test, socket: string, what: string, request: number, payload: Uint8Array, fds: number[] = []): Promise<void> {
  const channel = await open(socket)
  await t.rejects(channel.acknowledge(request, payload, fds), /closed the connection|could not be read from/, `${what} ends the connection`)
  for (const fd of fds) native.closeFd(fd)
}

const memfd = (bytes: number): number => native.memfd('conform', bytes, false)
const region = (at: number, bytes = MIB, user = at): Parameters<typeof regionPayload>[0] =>
  ({ guestAddress: at, sizeBytes: bytes, userAddress: user, offsetBytes: 0 })

t.test('features', async (t) => {
  const socket = await serve(t), channel = await open(socket)
  const offered = await channel.callU64(MESSAGE.getFeatures, EMPTY)
  const all = (bits: Readonly<Record<string, bigint>>): bigint => Object.values(bits).reduce((sum, bit) => sum | bit, 0n)
  t.equal(offered, all(FEATURE) & ~FEATURE.readOnly, 'everything there is a name for, and nothing else')
  t.equal(await channel.callU64(MESSAGE.getProtocolFeatures, EMPTY), all(PROTOCOL_FEATURE))
  t.equal(await channel.callU64(MESSAGE.getQueueNum, EMPTY), 256n)
  t.equal(await channel.callU64(MESSAGE.getMaxMemSlots, EMPTY), 509n)
  await ends(t, socket, 'a feature that was not offered', MESSAGE.setFeatures, u64Payload(FEATURES | 1n << 35n))
  channel.close()
  const reader = await VhostClient.connect(await serve(t, '--read-only'))
  t.ok(reader.readOnly)
  const ask = (kind: 'read' | 'write'): Promise<number> => reader.submit({ kind, lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 })
  t.same([await ask('read'), await ask('write')], [0, 1], 'a read-only volume refuses writes')
  await reader.close()
})

t.test('messages that a block device has no use for', async (t) => {
  const socket = await serve(t)
  const useless = [0, 19, 20, 22, 23, 26, 27, 28, 29, 30, 33, 35, 39, 40, 41, 42, 43, 44, 45]
  for (const request of useless) await ends(t, socket, `message ${request}`, request, u64Payload(0n))
})

t.test('one answer, or none', async (t) => {
  const socket = await serve(t), raw = new MessageSocket(native.connectUnix(socket))
  const say = (request: number, payload: Uint8Array, flags: number): Promise<boolean> => raw.send({ request, flags, payload, fds: [] })
  await say(MESSAGE.setOwner, EMPTY, FLAG.version | FLAG.needReply)
  await say(MESSAGE.getFeatures, EMPTY, FLAG.version)
  t.match(await raw.next(), { request: MESSAGE.getFeatures, flags: 5 }, 'no acknowledgement before REPLY_ACK was agreed on')
  await say(MESSAGE.setProtocolFeatures, u64Payload(PROTOCOL_FEATURE.replyAck), FLAG.version)
  await say(MESSAGE.getFeatures, EMPTY, FLAG.version | FLAG.needReply)
  await say(MESSAGE.setOwner, EMPTY, FLAG.version | FLAG.needReply)
  t.match(await raw.next(), { request: MESSAGE.getFeatures, flags: 5 }, 'NEED_REPLY is not echoed')
  const due = { request: MESSAGE.setOwner, flags: 5, payload: new Uint8Array(8) }
  t.match(await raw.next(), due, 'and a message with an answer is not acknowledged too')
  raw.close()
  const channel = await open(socket)
  for (const request of [MESSAGE.setOwner, MESSAGE.resetOwner]) await channel.acknowledge(request, EMPTY)
  const eventfd = native.eventfd(0)
  await channel.acknowledge(MESSAGE.setLogFd, EMPTY, [eventfd])
  native.closeFd(eventfd)
  channel.close()
})

t.test('the memory table', async (t) => {
  const socket = await serve(t), channel = await open(socket), fd = memfd(MIB)
  await channel.acknowledge(MESSAGE.setMemTable, memoryTablePayload([region(0), region(MIB)]), [fd, fd])
  await channel.acknowledge(MESSAGE.addMemReg, regionPayload(region(4 * MIB)), [fd])
  await channel.acknowledge(MESSAGE.remMemReg, regionPayload(region(4 * MIB)))
  await channel.acknowledge(MESSAGE.addMemReg, regionPayload(region(4 * MIB)), [fd])
  await channel.acknowledge(MESSAGE.remMemReg, regionPayload(region(4 * MIB)), [fd])
  await t.rejects(channel.acknowledge(MESSAGE.remMemReg, regionPayload(region(4 * MIB))), /closed|could not be read/, 'a region is removed twice')
  await ends(t, socket, 'an overlap', MESSAGE.setMemTable, memoryTablePayload([region(0), region(4096, MIB, 9 * MIB)]), [memfd(MIB), memfd(MIB)])
  await ends(t, socket, 'a table without descriptors', MESSAGE.setMemTable, memoryTablePayload([region(0)]))
  await ends(t, socket, 'a region that is longer than its file', MESSAGE.addMemReg, regionPayload(region(0, 2 * MIB)), [memfd(MIB)])
  await ends(t, socket, 'a region of no bytes', MESSAGE.addMemReg, regionPayload(region(0, 0)), [memfd(MIB)])
  native.closeFd(fd)
})

t.test('rings', async (t) => {
  const socket = await serve(t), channel = await open(socket)
  for (const size of [0, 3, 2048]) await ends(t, socket, `a ring of ${size}`, MESSAGE.setVringNum, statePayload(0, size))
  await ends(t, socket, 'queue 256', MESSAGE.setVringNum, statePayload(256, 64))
  await ends(t, socket, 'a kick without a descriptor', MESSAGE.setVringKick, ringFdPayload(0, false))
  await channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, false))
  await channel.acknowledge(MESSAGE.setVringErr, ringFdPayload(0, false))
  await channel.acknowledge(MESSAGE.setVringAddr, addressPayload(0, { desc: 0, used: 4096, avail: 8192 }))
  await channel.acknowledge(MESSAGE.setVringBase, statePayload(0, 77))
  const { payload } = await channel.call(MESSAGE.getVringBase, statePayload(0, 0))
  t.same([payload.getUint32(0, true), payload.getUint32(4, true)], [0, 77], 'a ring that never started gives its base back')
  channel.close()
})

t.test('a ring that is disabled keeps its requests, and its memory may be told again', async (t) => {
  const client = await VhostClient.connect(await serve(t))
  await client.channel.acknowledge(MESSAGE.setVringEnable, statePayload(0, 0))
  let done = false
  const write = client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }).then((status) => { done = status === 0 })
  const { guestAddress, userAddress, lengthBytes: sizeBytes, fd } = client.memory
  await client.channel.acknowledge(MESSAGE.setMemTable, memoryTablePayload([{ guestAddress, userAddress, sizeBytes, offsetBytes: 0 }]), [fd])
  await client.channel.callU64(MESSAGE.getFeatures, EMPTY)
  t.equal(done, false)
  await client.channel.acknowledge(MESSAGE.setVringEnable, statePayload(0, 1))
  await write
  t.equal(done, true, 'a kick that came while it was disabled is not lost')
  await client.channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, false))
  const silent = client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 })
  await client.channel.acknowledge(MESSAGE.setVringCall, ringFdPayload(0, true), [client.rings[0]!.callFd])
  t.equal(await silent, 0, 'what was completed without a call descriptor is told to the next one')
  await client.close()
})

t.test('a front end without protocol features never enables a ring', async (t) => {
  const client = await VhostClient.connect(await serve(t))
  await client.channel.acknowledge(MESSAGE.setVringEnable, statePayload(0, 0))
  await client.channel.acknowledge(MESSAGE.setFeatures, u64Payload(client.features & ~FEATURE.protocolFeatures))
  t.equal(await client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0, 'it is served all the same')
  await client.close()
})

t.test('config space', async (t) => {
  const socket = await serve(t), channel = await open(socket)
  for (const [offset, size] of [[0, 8], [0, 36], [0, 57], [0, 60], [0, 256], [32, 1], [58, 10], [200, 56]] as const) {
    const { payload } = await channel.call(MESSAGE.getConfig, configPayload(offset, size))
    t.equal(payload.byteLength, 12 + size, `${size} bytes at ${offset}`)
  }
  await ends(t, socket, 'a read beyond 256 bytes', MESSAGE.getConfig, configPayload(250, 10))
  channel.close()
})

t.test('the dirty log', async (t) => {
  const client = await VhostClient.connect(await serve(t)), { memory, channel } = client
  const bytes = Math.ceil((memory.guestAddress + memory.lengthBytes) / 4096 / 8), log = memfd(bytes)
  const dirty = (guest: number): boolean => {
    const byte = Buffer.alloc(1), page = Math.floor(guest / 4096)
    readSync(log, byte, 0, 1, Math.floor(page / 8))
    return (byte[0]! & 1 << page % 8) !== 0
  }
  const read = (): Promise<number> => client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 8192 })
  const data = memory.guestAddress + client.buffer.byteOffset + 8192, ring = client.rings[0]!, used = memory.guestAddress + ring.usedAt
  const { payload } = await channel.call(MESSAGE.setLogBase, logPayload(bytes, 0), [log])
  t.equal(payload.byteLength, 16, 'the answer that no front end hangs on')
  await read()
  t.equal(dirty(data), false, 'nothing is logged before LOG_ALL')
  await channel.acknowledge(MESSAGE.setFeatures, u64Payload(client.features | FEATURE.logAll))
  const from = memory.userAddress, places = { desc: from + ring.descAt, used: from + ring.usedAt, avail: from + ring.availAt }
  await channel.acknowledge(MESSAGE.setVringAddr, addressPayload(0, { ...places, log: used }))
  await read()
  t.same([dirty(data), dirty(used), dirty(data + 4096)], [true, true, false], 'data and used ring, and no more')
  const fresh = memfd(bytes)
  await channel.call(MESSAGE.setLogBase, logPayload(bytes, 0), [fresh])
  await channel.acknowledge(MESSAGE.setFeatures, u64Payload(client.features))
  native.closeFd(log)
  native.closeFd(fresh)
  await client.close()
})

t.test('inflight regions and ranges', async (t) => {
  const socket = await serve(t), channel = await open(socket)
  const { payload, fds } = await channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, 4, 256))
  t.equal(fds.length, 1)
  t.ok(native.fileSize(fds[0]!) >= Number(payload.getBigUint64(0, true)))
  await channel.acknowledge(MESSAGE.setInflightFd, payload8(payload), fds)
  native.closeFd(fds[0]!)
  channel.close()
  await ends(t, socket, 'a region for no queue', MESSAGE.getInflightFd, inflightPayload(0, 0, 0, 256))
  const client = await VhostClient.connect(socket), sectors = client.capacitySectors
  const ask = (kind: 'discard' | 'writeZeroes' | 'read', lbaSectors: number, lengthSectors: number, unmap = false): Promise<number> =>
    client.submit({ kind, lbaSectors, lengthSectors, unmap, bufferOffset: 0 })
  const flags = [await ask('discard', 0, 8), await ask('discard', 0, 8, true), await ask('writeZeroes', 0, 8, true)]
  t.same(flags, [0, 2, 0], 'DISCARD has no UNMAP flag')
  const ranges = [await ask('discard', sectors, 8), await ask('writeZeroes', 0, 65537), await ask('read', sectors - 4, 8)]
  t.same(ranges, [1, 1, 1], 'beyond the end, or too long')
  await client.close()
})

const payload8 = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
