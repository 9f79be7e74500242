/** Requests longer than a record, than a segment, and than all of a small region: split, stored, read back; none waits for ever. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const MIB = 1024 * 1024

t.test('a request larger than a record, a segment, the region', { timeout: 50_000 }, async (t) => {
  const work = new Workspace('large')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 128 * MIB)
  // 4 MiB segments, three of them.
  const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '13MiB'])
  const client = await VhostClient.connect(work.file('s'), { bufferBytes: 32 * MIB, timeoutMs: 40_000 })
  const pattern = Buffer.alloc(32 * MIB)
  for (let i = 0; i < pattern.length; i += 4) pattern.writeUInt32LE((i * 2654435761) >>> 0, i)
  let at = 0
  for (const bytes of [MIB + 512, 5 * MIB, 32 * MIB]) {
    const lengthSectors = bytes / 512
    client.buffer.set(pattern.subarray(0, bytes))
    t.equal(await client.submit({ kind: 'write', lbaSectors: at, lengthSectors, bufferOffset: 0 }), 0, `${bytes} bytes are written`)
    client.buffer.fill(0)
    t.equal(await client.submit({ kind: 'read', lbaSectors: at, lengthSectors, bufferOffset: 0 }), 0)
    t.ok(Buffer.compare(client.buffer.subarray(0, bytes), pattern.subarray(0, bytes)) === 0, 'and read back')
    at += lengthSectors
  }
  await client.close()
  t.equal(await daemon.stop(), 0)
  t.ok(readFileSync(image).subarray((at * 512) - 32 * MIB, at * 512).equals(pattern), 'and in the file after the drain')
})
