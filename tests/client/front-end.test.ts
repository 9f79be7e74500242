import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT, Failure } from '../../lib/core/failure.js'
import { FEATURE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import type { Child } from '../../fixtures/lab/process.js'
import { startQsd } from '../../fixtures/lab/qsd.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const SIZE = 8 * 1024 * 1024

interface Served { readonly work: Workspace; readonly socket: string; readonly image: string; readonly child: Child }

async function serve(t: Test, ...more: string[]): Promise<Served> {
  const work = new Workspace('client')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', SIZE), socket = work.file('s')
  const child = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, ...more])
  return { work, socket, image, child }
}

/** Fills part of the client's buffer with bytes that say where they belong. */
function fill(client: VhostClient, at: number, bytes: number, seed: number): void {
  for (let i = 0; i < bytes; i++) client.buffer[at + i] = (seed + i * 7 + (i >> 9) * 13) & 0xff
}

const data = (client: VhostClient, at: number, bytes: number): Buffer => Buffer.from(client.buffer.slice(at, at + bytes))

/** The failure that a promise is rejected with, and how long it took. */
async function failing(promise: Promise<unknown>): Promise<{ error: Failure; ms: number }> {
  const from = performance.now()
  const error = await promise.then(() => new Error('it was not rejected'), (e: unknown) => e as Error)
  if (!(error instanceof Failure)) throw error
  return { error, ms: performance.now() - from }
}

for (const packed of [false, true]) t.test(`a disk as a guest sees it: geometry, data, flush, discard and zeroes (${packed ? 'packed' : 'split'})`, async (t) => {
  const { socket, image } = await serve(t)
  const client = await VhostClient.connect(socket, { packed })
  t.equal((client.features & FEATURE.ringPacked) !== 0n, packed)
  t.equal(client.capacitySectors, SIZE / 512)
  t.equal(client.blockSizeBytes, 512)
  t.equal(client.readOnly, false)
  t.ok((client.features & FEATURE.eventIdx) !== 0n && (client.features & FEATURE.logAll) === 0n)

  fill(client, 0, 65536, 3)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 256, lengthSectors: 128, bufferOffset: 0 }), 0)
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0)
  t.ok(readFileSync(image).subarray(256 * 512, 384 * 512).equals(data(client, 0, 65536)), 'the image has what was written')
  t.equal(await client.submit({ kind: 'read', lbaSectors: 256, lengthSectors: 128, bufferOffset: 65536 }), 0)
  t.ok(data(client, 65536, 65536).equals(data(client, 0, 65536)))

  t.equal(await client.submit({ kind: 'discard', lbaSectors: 264, lengthSectors: 8, bufferOffset: 0 }), 0)
  t.equal(await client.submit({ kind: 'writeZeroes', lbaSectors: 300, lengthSectors: 1, bufferOffset: 0 }), 0)
  t.equal(await client.submit({ kind: 'writeZeroes', lbaSectors: 320, lengthSectors: 16, bufferOffset: 0, unmap: true }), 0)
  t.equal(await client.submit({ kind: 'read', lbaSectors: 256, lengthSectors: 128, bufferOffset: 65536 }), 0)
  const expected = data(client, 0, 65536)
  for (const [from, sectors] of [[8, 8], [44, 1], [64, 16]] as const) expected.fill(0, from * 512, (from + sectors) * 512)
  t.ok(data(client, 65536, 65536).equals(expected), 'what was discarded or zeroed reads as zeroes, its neighbours as before')

  t.equal(await client.submit({ kind: 'getId', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0)
  t.equal(data(client, 0, 20).toString('latin1').replace(/\0+$/, ''), 'disk.raw')
  t.equal(await client.submit({ kind: 'read', lbaSectors: SIZE / 512 - 1, lengthSectors: 2, bufferOffset: 0 }), 1, 'beyond the end')
  t.equal(await client.submit({ kind: 'discard', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0, unmap: true }), 2, 'a flag that no discard has')
  await client.close()
})

t.test('single sectors at odd places do not disturb their neighbours', async (t) => {
  const { socket, image } = await serve(t)
  writeFileSync(image, Buffer.alloc(SIZE, 0xaa), { flag: 'r+' })
  const client = await VhostClient.connect(socket)
  const expected = Buffer.alloc(SIZE, 0xaa)
  for (const [i, lba] of [1, 9, 7, 2047, 15, 16383].entries()) {
    // Neither the disk's place nor the memory's is aligned to more than the sector, or to nothing at all.
    const at = i * 1024 + 4096 + i
    fill(client, at, 512, i)
    data(client, at, 512).copy(expected, lba * 512)
    t.equal(await client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: 1, bufferOffset: at }), 0)
  }
  t.equal(await client.submit({ kind: 'read', lbaSectors: 5, lengthSectors: 13, bufferOffset: 65536 + 512 }), 0)
  t.ok(data(client, 65536 + 512, 13 * 512).equals(expected.subarray(5 * 512, 18 * 512)))
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0)
  t.ok(readFileSync(image).equals(expected))
  await client.close()
})

t.test('many requests on many queues, more than their rings hold', async (t) => {
  const { socket, image } = await serve(t)
  for (const [packed, refuse] of [[false, 0n], [false, FEATURE.eventIdx], [true, 0n], [true, FEATURE.eventIdx]] as const) {
    const client = await VhostClient.connect(socket, { queues: 4, queueSize: 16, bufferBytes: 4 * 1024 * 1024, packed, refuse })
    const seed = (packed ? 5 : 1) + (refuse === 0n ? 0 : 1)
    fill(client, 0, 400 * 4096, seed)
    const statuses = await Promise.all(Array.from({ length: 400 }, (_, i) =>
      client.submit({ kind: 'write', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: i * 4096, queue: i % 4 })))
    t.same(new Set(statuses), new Set([0]))
    t.same(client.rings.map((ring) => ring.inFlight), [0, 0, 0, 0])
    t.ok(readFileSync(image).subarray(0, 400 * 4096).equals(data(client, 0, 400 * 4096)))
    await client.close()
  }
})

t.test('one connection after the other, orderly or not, finds the same disk', async (t) => {
  const { socket } = await serve(t)
  const first = await VhostClient.connect(socket)
  fill(first, 0, 4096, 1)
  const wanted = data(first, 0, 4096)
  t.equal(await first.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  await first.close()
  await t.rejects(first.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }))
  for (let round = 0; round < 2; round++) {
    const next = await VhostClient.connect(socket)
    t.equal(await next.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 4096 }), 0)
    t.ok(data(next, 4096, 4096).equals(wanted))
    const open = next.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 })
    next.abort()
    await t.rejects(open, { message: /left without a word/ })
  }
})

for (const packed of [false, true]) t.test(`a back end that dies rejects what is open; for a client that can resume it goes on with the next one (${packed ? 'packed' : 'split'})`, async (t) => {
  const { work, socket, image, child } = await serve(t)
  const brittle = await VhostClient.connect(socket)
  await child.kill9()
  const { error } = await failing(brittle.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }))
  t.match(error.message, socket)

  const second = await startBlk(work, 'second', ['--socket-path', socket, '--blk-file', image])
  const client = await VhostClient.connect(socket, { resumable: true, packed })
  fill(client, 0, 65536, 5)
  await second.kill9()
  const writes = Array.from({ length: 16 }, (_, i) => client.submit({ kind: 'write', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: i * 4096 }))
  await startBlk(work, 'third', ['--socket-path', socket, '--blk-file', image])
  client.abort()
  await client.reconnect()
  t.same(await Promise.all(writes), new Array(16).fill(0))
  t.ok(readFileSync(image).subarray(0, 65536).equals(data(client, 0, 65536)))
  await client.close()
})

t.test('another back end than ours is understood as well', { skip: requires('qemu-storage-daemon') }, async (t) => {
  const work = new Workspace('client'), image = work.file('disk.raw')
  t.teardown(() => work.close())
  writeFileSync(image, '')
  truncateSync(image, SIZE)
  await startQsd(work, 'qsd', image, work.file('s'), 2)
  const client = await VhostClient.connect(work.file('s'), { queues: 2, resumable: true })
  t.equal(client.capacitySectors, SIZE / 512)
  fill(client, 0, 65536, 9)
  const statuses = await Promise.all(Array.from({ length: 128 }, (_, i) =>
    client.submit({ kind: 'write', lbaSectors: i, lengthSectors: 1, bufferOffset: i * 512, queue: i % 2 })))
  t.same(new Set(statuses), new Set([0]))
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0, queue: 1 }), 0)
  t.ok(readFileSync(image).subarray(0, 65536).equals(data(client, 0, 65536)))
  client.abort()
  t.match((await failing(client.reconnect())).error.message, /keeps no inflight region/)
  await client.close()
  await t.rejects(VhostClient.connect(work.file('s'), { packed: true }), { message: /has no packed rings/ })
  await t.rejects(VhostClient.connect(work.file('s'), { queues: 3 }), { message: /has 2 queues, and 3 are wanted/ })
})

t.test('a read-only disk refuses to be written', async (t) => {
  const { socket } = await serve(t, '--read-only')
  const client = await VhostClient.connect(socket)
  t.equal(client.readOnly, true)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 1)
  t.equal(await client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  await client.close()
})

t.test('a socket that is not there, or says nothing, is an error that names it, in time', async (t) => {
  const work = new Workspace('client')
  t.teardown(() => work.close())
  const absent = await failing(VhostClient.connect(work.file('absent')))
  t.equal(absent.error.message, `cannot connect to ${work.file('absent')}: there is no such socket; is the back end running?`)
  t.equal(absent.error.exitCode, EXIT.unreachable)

  const silent = createServer((socket) => socket.resume())
  await new Promise<void>((resolve) => silent.listen(work.file('silent'), resolve))
  const mute = await failing(VhostClient.connect(work.file('silent'), { timeoutMs: 300 }))
  t.equal(mute.error.message, `the back end at ${work.file('silent')} did not answer getFeatures within 300 ms`)
  t.ok(mute.ms >= 290 && mute.ms < 3000, `${mute.ms} ms`)
  await new Promise((resolve) => silent.close(resolve))

  const rude = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => rude.listen(work.file('rude'), resolve))
  const closed = await failing(VhostClient.connect(work.file('rude'), { timeoutMs: 5000 }))
  t.match(closed.error.message, `the back end at ${work.file('rude')}`)
  t.ok(closed.ms < 3000, `${closed.ms} ms`)
  await new Promise((resolve) => rude.close(resolve))

  const strange = createServer((socket) => socket.on('error', () => {}).resume().write('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await new Promise<void>((resolve) => strange.listen(work.file('strange'), resolve))
  const other = await failing(VhostClient.connect(work.file('strange'), { timeoutMs: 5000 }))
  t.match(other.error.message, `the back end at ${work.file('strange')} sent`)
  await new Promise((resolve) => strange.close(resolve))
})
