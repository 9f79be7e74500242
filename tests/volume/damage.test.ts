/** A region whose disk has lied: what was acknowledged and is not whole any more is never passed over in silence (H4). */
import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
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
