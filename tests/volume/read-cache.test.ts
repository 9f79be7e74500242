/** The read cache under whole hosts: where reads come from, and that what they find is never old. */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { until } from '../../fixtures/lab/workspace.js'
import { lab } from './lab.js'

const MIB = 1024 * 1024

const write = (client: VhostClient, block: number, content: number, blocks = 1): Promise<number> => {
  client.buffer.fill(content, 0, blocks * 4096)
  return client.submit({ kind: 'write', lbaSectors: block * 8, lengthSectors: blocks * 8, bufferOffset: 0 })
}

async function read(client: VhostClient, block: number, blocks = 1): Promise<number[]> {
  client.buffer.fill(0xee, 0, blocks * 4096)
  const status = await client.submit({ kind: 'read', lbaSectors: block * 8, lengthSectors: blocks * 8, bufferOffset: 0 })
  if (status !== 0) throw new Error(`status ${status}`)
  return Array.from({ length: blocks }, (_, i) => {
    const bytes = client.buffer.subarray(i * 4096, (i + 1) * 4096)
    return Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0 ? bytes[0]! : -1
  })
}

t.test('what was destaged, and what was missed once, is read from the region', async (t) => {
  const { work, cluster, held } = await lab(t, 'hits', 16 * MIB, { hosts: ['a'], copies: 0 })
  const a = cluster.host('a')
  await a.start()
  const client = await VhostClient.connect(cluster.socket('a'))
  const counters = async (): Promise<{ regionReadBytes: number; backingReadBytes: number }> => (await a.volume('db01')).counters
  for (let i = 0; i < 8; i++) t.equal(await write(client, i * 16, i + 1, 16), 0)
  await a.control.flush('db01', null, () => undefined)
  t.equal((await a.volume('db01')).dirtyBytes, 0)
  const before = await counters()
  for (let i = 0; i < 8; i++) t.same(await read(client, i * 16, 16), Array(16).fill(i + 1))
  const after = await counters()
  t.equal(after.backingReadBytes, before.backingReadBytes, 'clean data is read where the log put it')
  t.equal(after.regionReadBytes - before.regionReadBytes, 8 * 16 * 4096)

  t.same(await read(client, 1000), [0], 'a miss')
  await until('the miss to be filled in', 5000, async () => {
    const { backingReadBytes } = await counters()
    return (await read(client, 1000))[0] === 0 && (await counters()).backingReadBytes === backingReadBytes
  })
  t.equal(await write(client, 1000, 9), 0)
  t.same(await read(client, 1000), [9], 'what is written hides it')
  await a.control.flush('db01', null, () => undefined)
  t.same(await read(client, 999, 3), [0, 9, 0])

  t.equal(await client.submit({ kind: 'discard', lbaSectors: 0, lengthSectors: 16 * 8, bufferOffset: 0 }), 0)
  await a.control.flush('db01', null, () => undefined)
  t.same(await read(client, 0, 17), [...Array<number>(16).fill(0), 2], 'what is discarded is zero afterwards too')
  const status = await a.volume('db01')
  t.match(status.cache, { populating: true })

  // The clean block rots: the image has it as well.
  const region = work.file('a.region'), at = readFileSync(region).indexOf(Buffer.alloc(4096, 4))
  const disk = openSync(region, 'r+')
  writeSync(disk, Buffer.from([1]), 0, 1, at + 5)
  fsyncSync(disk)
  closeSync(disk)
  for (let block = 48; block < 64; block++) t.same(await read(client, block), [4])
  t.equal((await a.volume('db01')).counters.rottenBlocks, 1)
  t.ok(readFileSync(held).subarray(48 * 4096, 64 * 4096).equals(Buffer.alloc(16 * 4096, 4)))
  await client.close()
})

t.test('what another host wrote in between is seen', async (t) => {
  const { cluster } = await lab(t, 'elsewhere', 64 * MIB, { copies: 0 })
  await cluster.start()
  const a = cluster.host('a'), b = cluster.host('b')
  const first = await VhostClient.connect(cluster.socket('a'))
  // More than one segment, so that one is left to the cache.
  for (let i = 0; i < 4096; i += 16) await write(first, i, 1, 16)
  await a.control.flush('db01', null, () => undefined)
  t.same(await read(first, 0, 64), Array(64).fill(1), 'a has it clean')
  await first.close()
  const second = await VhostClient.connect(cluster.socket('b'))
  for (let i = 0; i < 64; i += 2) await write(second, i, 2)
  await b.control.flush('db01', null, () => undefined)
  t.same((await read(second, 0, 2)), [2, 1])
  await second.close()
  const third = await VhostClient.connect(cluster.socket('a'))
  t.same(await read(third, 0, 64), Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? 2 : 1)))
  await third.close()
})

t.test('a small region under random reads and writes, cuts and evictions: nothing old is ever read', async (t) => {
  const { cluster } = await lab(t, 'churn', 64 * MIB, { hosts: ['a'], copies: 0, regionSize: '48MiB', volume: 'destage_delay = "20ms"\ndestage_at = "1MiB"' })
  const a = cluster.host('a')
  await a.start()
  const client = await VhostClient.connect(cluster.socket('a'))
  const model = new Uint8Array(8192)
  let seed = 12345
  const random = (below: number): number => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return Math.floor((seed / 2 ** 32) * below) }
  let wrong = 0
  for (let round = 0; round < 6000; round++) {
    // Some blocks are hot, so that they are written, cached, evicted and kept.
    const block = random(4) === 0 ? random(8000) : random(200), blocks = 1 + random(16)
    if (random(3) === 0) {
      const content = 1 + random(250)
      await write(client, block, content, blocks)
      model.fill(content, block, block + blocks)
    } else {
      const found = await read(client, block, blocks)
      for (let i = 0; i < blocks; i++) if (found[i] !== model[block + i]) wrong++
    }
  }
  t.equal(wrong, 0)
  const { counters, cache } = await a.volume('db01')
  t.ok(counters.cuts > 10 && counters.backingReadBytes > 0 && counters.cleanReadBytes > 0, `${counters.cuts} cuts, ${counters.cleanReadBytes} bytes from clean blocks, ${cache!.cleanBytes} bytes of them`)
  await client.close()
})

t.test('a clean stop keeps the cache, a crash does not, and both are right', async (t) => {
  const { cluster, image } = await lab(t, 'lasting', 64 * MIB, { hosts: ['a'], copies: 0 })
  const a = cluster.host('a')
  await a.start()
  const backingReads = async (): Promise<number> => (await a.volume('db01')).counters.backingReadBytes
  const first = await VhostClient.connect(cluster.socket('a'))
  for (let i = 0; i < 4096; i += 16) await write(first, i, 1 + (i % 200), 16)
  await first.close()
  t.equal(await a.stop(), 0)

  await a.start()
  t.match(a.child!.output, /the read cache is as the last stop left it/)
  const second = await VhostClient.connect(cluster.socket('a'))
  let found = 0
  for (let i = 0; i < 4096; i += 16) {
    const before = await backingReads()
    t.same(await read(second, i, 16), Array(16).fill(1 + (i % 200)))
    if (await backingReads() === before) found++
  }
  t.ok(found > 100, `${found} of 256 reads were found in the region`)
  for (let i = 0; i < 4096; i += 32) await write(second, i, 250, 16)
  await a.control.flush('db01', null, () => undefined)
  await second.close()
  await a.kill9()

  await a.start()
  t.notMatch(a.child!.output.split('a serves db01').at(-1)!, /as the last stop left it/)
  const third = await VhostClient.connect(cluster.socket('a'))
  for (let i = 0; i < 4096; i += 16) t.same(await read(third, i, 16), Array(16).fill(i % 32 === 0 ? 250 : 1 + (i % 200)))
  await third.close()
  t.equal(await a.stop(), 0)

  // H63: somebody restores the image while nobody serves it.
  const disk = openSync(image, 'r+')
  for (let i = 0; i < 4096; i += 16) writeSync(disk, Buffer.alloc(16 * 4096, 77), 0, 16 * 4096, i * 4096)
  fsyncSync(disk)
  closeSync(disk)
  await a.start()
  const fourth = await VhostClient.connect(cluster.socket('a'))
  for (let i = 0; i < 4096; i += 16) t.same(await read(fourth, i, 16), Array(16).fill(77))
  t.match(a.child!.output, /was changed while nobody served it/)
  await fourth.close()
})
