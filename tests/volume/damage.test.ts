/** A region whose disk has lied: what was acknowledged and is not whole any more is never passed over in silence (H4). */
import { createHash } from 'node:crypto'
import { closeSync, copyFileSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { HEADER_BYTES, RECORD_MAGIC } from '../../lib/core/record.js'
import { Child } from '../../fixtures/lab/process.js'
import { HOLDFAST } from '../../fixtures/lab/daemon.js'
import { lab } from './lab.js'

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

t.test('a damaged record that later ones vouch for stops the start, and nothing is written', async (t) => {
  const { work, cluster, held } = await lab(t, 'damage', 4 * 1024 * 1024, {
    hosts: ['a'], copies: 0, volume: 'durability = "write"\ndestage_delay = "60s"',
  })
  const a = cluster.host('a'), region = work.file('a.region'), copy = work.file('copy')
  await a.start()
  const client = await VhostClient.connect(cluster.socket('a'))
  for (let i = 1; i <= 10; i++) {
    client.buffer.fill(i, 0, 4096)
    t.equal(await client.submit({ kind: 'write', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: 0 }), 0)
  }
  await a.kill9()
  copyFileSync(region, copy)
  const bytes = readFileSync(region), records: number[] = []
  for (let at = 0; at < bytes.length; at += HEADER_BYTES) if (bytes.readUInt32LE(at) === RECORD_MAGIC) records.push(at)
  t.equal(records.length, 10, 'one record for each write')

  for (const [name, where] of [['its data', HEADER_BYTES + 100], ['its header', 60]] as const) {
    const damaged = Buffer.from(bytes)
    damaged[records[4]! + where]! ^= 0x10
    writeFileSync(region, damaged)
    const before = [sha256(region), sha256(held)]
    const child = new Child(HOLDFAST, ['serve', '--config', a.config], work.file(`damaged-${where}.log`))
    t.equal(await child.waitExit(15_000), EXIT.damaged, name)
    t.match(child.output, new RegExp(`record 5 of volume .*epoch 1 .*byte ${records[4]!}\\) is damaged, although a later record proves`))
    t.same([sha256(region), sha256(held)], before, 'neither the region nor the image was touched')
  }

  copyFileSync(copy, region)
  await a.start()
  const again = await VhostClient.connect(cluster.socket('a'))
  for (let i = 1; i <= 10; i++) {
    t.equal(await again.submit({ kind: 'read', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: 0 }), 0)
    t.ok(Buffer.alloc(4096, i).equals(again.buffer.subarray(0, 4096)), `write ${i} is there once the region is whole again`)
  }
  await again.close()
})

/** Ten blocks of the guest's, each in a record of its own; returns the records' places in the region. */
async function tenWrites(client: VhostClient, region: string): Promise<number[]> {
  for (let i = 1; i <= 10; i++) {
    client.buffer.fill(i, 0, 4096)
    await client.submit({ kind: 'write', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: 0 })
  }
  await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 })
  const bytes = readFileSync(region), records: number[] = []
  for (let at = 0; at < bytes.length; at += HEADER_BYTES) if (bytes.readUInt32LE(at) === RECORD_MAGIC) records.push(at)
  return records
}

/** One byte of the record's data becomes another, as on a disk that rots. */
function rot(region: string, record: number): void {
  const disk = openSync(region, 'r+')
  writeSync(disk, Buffer.from([0xff]), 0, 1, record + HEADER_BYTES + 1000)
  fsyncSync(disk)
  closeSync(disk)
}

async function readBlock(client: VhostClient, block: number): Promise<{ status: number; good: boolean }> {
  const status = await client.submit({ kind: 'read', lbaSectors: block * 8, lengthSectors: 8, bufferOffset: 0 })
  return { status, good: Buffer.alloc(4096, block).equals(client.buffer.subarray(0, 4096)) }
}

t.test('rot without a copy is noticed before it is destaged, and before a guest sees it', async (t) => {
  const { work, cluster, held } = await lab(t, 'rot', 4 * 1024 * 1024, { hosts: ['a'], copies: 0, volume: 'destage_delay = "60s"' })
  const a = cluster.host('a')
  await a.start()
  const client = await VhostClient.connect(cluster.socket('a'))
  const region = work.file('a.region'), records = await tenWrites(client, region)
  rot(region, records[6]!)
  const before = sha256(held)
  const rotten = new RegExp(`record 7 of volume .*, at byte ${records[6]!} was good and is not any more \\(its data is damaged\\)`)
  await t.rejects(a.control.flush('db01', null, () => undefined), rotten)
  t.match(await a.volume('db01'), { phase: 'serving', policy: { reason: rotten } }, 'everybody can see why')
  await t.rejects(a.control.flush('db01', null, () => undefined), rotten, 'asked again, it says so at once')
  t.equal(sha256(held), before, 'nothing of the cut is on the image')
  t.match(await readBlock(client, 7), { status: 1 }, 'an error instead of wrong data')
  t.same(await readBlock(client, 8), { status: 0, good: true }, 'what is not damaged is read')
  t.equal((await a.volume('db01')).counters.rottenBlocks, 1)
  await a.kill9()
})

t.test('rot is repaired from the copy, when a guest reads it and when it is destaged', async (t) => {
  const { work, cluster, held } = await lab(t, 'repair', 4 * 1024 * 1024, { volume: 'destage_delay = "60s"' })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'))
  const region = work.file('a.region')

  const first = await tenWrites(client, region)
  rot(region, first[6]!)
  t.same(await readBlock(client, 7), { status: 0, good: true }, 'read')
  const status = await a.volume('db01')
  t.match(status, { phase: 'serving', inherited: [{ holders: ['b'] }], counters: { rottenBlocks: 1 } }, 'the copy is the only holder now')
  for (let i = 1; i <= 10; i++) t.same(await readBlock(client, i), { status: 0, good: true }, `write ${i}`)
  await a.control.flush('db01', null, () => undefined)
  t.same((await a.volume('db01')).inherited, [])

  const second = (await tenWrites(client, region)).filter((at) => !first.includes(at))
  t.equal(second.length, 10)
  rot(region, second[2]!)
  await a.control.flush('db01', null, () => undefined)
  const image = readFileSync(held)
  for (let i = 1; i <= 10; i++) t.ok(image.subarray(i * 4096, (i + 1) * 4096).equals(Buffer.alloc(4096, i)), `write ${i} is on the image`)
  t.match(a.child!.output, /record \d+ of volume .* was good and is not any more/, 'it was said')
  t.match(await a.volume('db01'), { phase: 'serving', policy: { effective: 'write-back, 1 copy', reason: null } }, 'and all is as before')
  await client.close()
})
