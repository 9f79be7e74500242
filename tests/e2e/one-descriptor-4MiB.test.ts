/** One descriptor of 4 MiB, as a front end may make that is no Linux: one request, several records, any alignment. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { stampSectors } from '../../lib/replay/stamp.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BYTES = 4 * 1024 * 1024, SECTORS = BYTES / 512

for (const cache of [true, false]) {
  t.test(`one-descriptor-4MiB, ${cache ? 'cached' : 'passed through'}`, async (t) => {
    const work = new Workspace('one')
    t.teardown(() => work.close())
    const image = work.image('disk.raw', 64 * 1024 * 1024)
    await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, ...(cache ? ['--cache', work.file('region'), '--cache-size', '64MiB'] : [])])
    const client = await VhostClient.connect(work.file('s'), { bufferBytes: BYTES + 4096 })
    const want = new Uint8Array(BYTES)
    for (const [round, { lba, shift }] of [{ lba: 0, shift: 0 }, { lba: 20001, shift: 512 }, { lba: 131072 - SECTORS, shift: 4 }].entries()) {
      stampSectors(want, 8, round, lba, SECTORS)
      client.buffer.set(want, shift)
      t.equal(await client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: SECTORS, bufferOffset: shift }), 0)
      client.buffer.fill(0)
      t.equal(await client.submit({ kind: 'read', lbaSectors: lba, lengthSectors: SECTORS, bufferOffset: shift }), 0)
      t.ok(Buffer.compare(client.buffer.subarray(shift, shift + BYTES), want) === 0, `from sector ${lba}, buffer at ${shift}`)
    }
    await client.close()
  })
}
