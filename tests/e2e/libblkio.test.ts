/**
 * An independent client: QEMU 10's qemu-io and a load generator on libblkio. The wrapper that runs them is not part of
 * this tree; LIBBLKIO_CLIENT names it ("libblkio-client io SOCKET ...", "libblkio-client load SOCKET ...").
 */
import { execFileSync } from 'node:child_process'
import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const client = process.env['LIBBLKIO_CLIENT'] ?? ''
const skip = existsSync(client) ? false : 'LIBBLKIO_CLIENT does not name a libblkio client'

for (const [what, cache] of [['passed through', false], ['cached', true]] as const) {
  t.test(`libblkio finds its data again, ${what}`, { skip, timeout: 60_000 }, async (t) => {
    const work = new Workspace('blkio')
    t.teardown(() => work.close())
    const image = work.file('vm1.raw'), socket = work.file('s')
    writeFileSync(image, '')
    truncateSync(image, 1024 * 1024 * 1024)
    await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, ...(cache ? ['--cache', work.file('region'), '--cache-size', '512MiB'] : [])])
    const load = JSON.parse(execFileSync(client, ['load', socket, 'rw=randrw', 'verify=2', 'depth=32', 'count=40000'], { encoding: 'utf8' })) as { mismatches: number; count: number }
    t.match(load, { mismatches: 0, count: 40000 })
    const io = execFileSync(client, ['io', socket, '-c', 'write -P 7 4096 64k', '-c', 'read -P 7 4096 64k', '-c', 'flush', '-c', 'discard 8192 4096', '-c', 'read -P 0 8192 4096'], { encoding: 'utf8' })
    t.match(io, /wrote 65536\/65536 bytes/)
    t.notMatch(io, /Pattern verification failed|error/i)
  })
}
