/**
 * An independent client: QEMU 10's qemu-io and a load generator on libblkio. The wrapper that runs them is not part of
 * this tree; LIBBLKIO_CLIENT names it ("libblkio-client io SOCKET ...", "libblkio-client load SOCKET ...").
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const client = process.env['LIBBLKIO_CLIENT'] ?? ''
const skip = existsSync(client) ? false : 'LIBBLKIO_CLIENT does not name a libblkio client'
if (skip !== false) t.pass('an independent client', { skip })

const RUNS = skip !== false ? [] : [[512, 20_000], [4096, 20_000], [65_536, 3000], [1_048_576, 300]].flatMap(([bytes, count]) => [1, 32, 128].map((depth) => ({ bytes: bytes!, count: depth === 1 ? count! / 10 : count!, depth })))

for (const { bytes, count, depth } of RUNS) for (const cache of [false, true]) {
  t.test(`libblkio finds its data again: ${bytes} bytes, depth ${depth}, ${cache ? 'cached' : 'passed through'}`, { timeout: 60_000 }, async (t) => {
    const work = new Workspace('blkio')
    t.teardown(() => work.close())
    const image = work.image('vm1.raw', 1024 * 1024 * 1024), socket = work.file('s')
    await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, ...(cache ? ['--cache', work.file('region'), '--cache-size', '512MiB'] : [])])
    // The client expects zeros where it has not written yet, so each run gets a disk of its own.
    const load = JSON.parse(execFileSync(client, ['load', socket, 'rw=randrw', 'verify=2', `depth=${depth}`, `bs=${bytes}`, `count=${count}`], { encoding: 'utf8' })) as { mismatches: number; count: number }
    t.match(load, { mismatches: 0, count })
    const io = execFileSync(client, ['io', socket, '-c', 'write -P 7 4096 64k', '-c', 'read -P 7 4096 64k', '-c', 'flush', '-c', 'discard 8192 4096', '-c', 'read -P 0 8192 4096', '-c', 'write -z 16384 8192', '-c', 'read -P 0 16384 8192'], { encoding: 'utf8' })
    t.match(io, /wrote 65536\/65536 bytes/)
    t.notMatch(io, /Pattern verification failed|error/i)
  })
}
