/** A disk whose end is not on a 4 KiB border, and one on a device with sectors of 4 KiB: the last sectors are as good as the others. */
import { spawnSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { stampSectors } from '../../lib/replay/stamp.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const SECTORS = 4096 + 3

/** Writes and reads around the end of the disk at every alignment; returns what the last 16 sectors must hold. */
async function around(t: Test, client: VhostClient, sectors: number): Promise<Buffer> {
  const end = Buffer.alloc(16 * 512)
  for (let i = 0; i < 24; i++) {
    const lengthSectors = 1 + i % 9, lba = sectors - 16 + (i * 5) % (16 - lengthSectors + 1)
    stampSectors(client.buffer, 3, i, lba, lengthSectors)
    end.set(client.buffer.subarray(0, lengthSectors * 512), (lba - (sectors - 16)) * 512)
    t.equal(await client.submit({ kind: 'write', lbaSectors: lba, lengthSectors, bufferOffset: 0 }), 0)
  }
  client.buffer.fill(0)
  t.equal(await client.submit({ kind: 'read', lbaSectors: sectors - 16, lengthSectors: 16, bufferOffset: 512 }), 0)
  t.ok(Buffer.compare(client.buffer.subarray(512, 512 + 16 * 512), end) === 0, 'read back at another alignment')
  t.equal(await client.submit({ kind: 'read', lbaSectors: sectors - 1, lengthSectors: 2, bufferOffset: 0 }), 1, 'nothing lies beyond the end')
  return end
}

for (const cache of [true, false]) {
  t.test(`backing-size-not-4K, ${cache ? 'cached' : 'passed through'}`, async (t) => {
    const work = new Workspace('odd')
    t.teardown(() => work.close())
    const image = work.image('disk.raw', SECTORS * 512)
    const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, ...(cache ? ['--cache', work.file('region'), '--cache-size', '64MiB'] : [])])
    const client = await VhostClient.connect(work.file('s'))
    t.equal(client.capacitySectors, SECTORS)
    const end = await around(t, client, SECTORS)
    await client.close()
    t.equal(await daemon.stop(40_000), 0)
    const file = readFileSync(image)
    t.equal(file.length, SECTORS * 512, 'the file is as long as before')
    t.ok(file.subarray(-16 * 512).equals(end), 'the file holds it')
  })
}

t.test('4Kn-backing-512-guest', async (t) => {
  const work = new Workspace('4kn')
  t.teardown(() => work.close())
  writeFileSync(work.file('disk.raw'), '')
  truncateSync(work.file('disk.raw'), 4096 * 512)
  const loop = spawnSync('losetup', ['--show', '-f', '-b', '4096', work.file('disk.raw')], { encoding: 'utf8' })
  if (loop.status !== 0) { t.pass('loop device', { skip: `none with sectors of 4 KiB: ${(loop.stderr || String(loop.error)).trim()}` }); return }
  const device = loop.stdout.trim()
  work.onClose(() => { spawnSync('losetup', ['-d', device]) })
  const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', device, '--cache', work.file('region'), '--cache-size', '64MiB'])
  const client = await VhostClient.connect(work.file('s'))
  t.equal(client.blockSizeBytes, 512)
  const end = await around(t, client, 4096)
  await client.close()
  t.equal(await daemon.stop(40_000), 0)
  spawnSync('losetup', ['-d', device])
  t.ok(readFileSync(work.file('disk.raw')).subarray(-16 * 512).equals(end), 'the device holds it')
})
