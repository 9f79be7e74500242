/**
 * A guest that moves waits, from the stop of its source to the first answers, as long with much dirty data as with little: what is dirty is read from where it is, and its
 * map comes afterwards. Figures are said, not asserted; what is read while the guest waits is.
 */
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const MIB = 1024 * 1024, DEPTH = 64
/** `make soak` has more dirty data, and as many extents of it as there can be. */
const SIZES_MIB = [16, Number(process.env['DIRTY_MIB'] ?? 512)], BLOCK_KIB = Number(process.env['DIRTY_BLOCK_KIB'] ?? 32), BLOCK_SECTORS = BLOCK_KIB * 2

interface Pause { readonly readMs: number; readonly writeMs: number }

/** `mib` of dirty data, in blocks with as much room between them. */
async function dirty(client: VhostClient, mib: number): Promise<void> {
  const blocks = mib * 1024 / BLOCK_KIB
  client.buffer.fill(0x5a)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < blocks) {
      const block = next++
      if (await client.submit({ kind: 'write', lbaSectors: block * 2 * BLOCK_SECTORS, lengthSectors: BLOCK_SECTORS, bufferOffset: 0 }) !== 0) throw new Error(`the write of block ${block} failed`)
    }
  }
  await Promise.all(Array.from({ length: DEPTH }, worker))
}

/** `replica`: the destination has a copy of the log already. */
async function move(t: Test, mib: number, replica: boolean): Promise<Pause> {
  const work = new Workspace('pause')
  t.teardown(() => work.close())
  const cluster = await LabCluster.create(work, {
    image: work.image('disk.raw', 2 * mib * MIB), hosts: replica ? ['a', 'b'] : ['a', 'b', 'c'], copies: 1, replicas: replica ? { a: ['b'], b: ['a'] } : { a: ['c', 'b'], b: ['a', 'c'], c: ['a', 'b'] },
    regionSize: `${mib * 3 + 256}MiB`, volume: 'destage_delay = "10m"\ndestage_at = "100GiB"',
  })
  await cluster.start()
  await until('all hosts to be connected', 10_000, async () => (await Promise.all([...cluster.hosts.values()].map((host) => host.status()))).every(({ peers }) => peers.every((peer) => peer.dialed && peer.accepted)))
  const source = await VhostClient.connect(cluster.socket('a'), { queueSize: 128 })
  await dirty(source, mib)
  // As QEMU does it: the destination is connected before the source stops.
  const target = await VhostClient.connect(cluster.socket('b'), { queueSize: 128, waits: true })
  const stoppedMs = performance.now()
  await source.close()
  await target.start()
  const wrote = target.submit({ kind: 'write', lbaSectors: BLOCK_SECTORS, lengthSectors: 8, bufferOffset: 0 }).then((status) => { t.equal(status, 0); return performance.now() - stoppedMs })
  const read = target.submit({ kind: 'read', lbaSectors: 2 * BLOCK_SECTORS, lengthSectors: 8, bufferOffset: 4096 }).then((status) => { t.equal(status, 0); return performance.now() - stoppedMs })
  const pause = { readMs: await read, writeMs: await wrote }
  t.ok(target.buffer.subarray(4096, 8192).every((byte) => byte === 0x5a), 'and what is dirty was read')
  await target.close()
  return pause
}

for (const replica of [true, false]) {
  t.test(replica ? 'to a host that has a copy' : 'to a host that has none', async (t) => {
    for (const mib of SIZES_MIB) {
      const { readMs, writeMs } = await move(t, mib, replica)
      t.comment(`${mib} MiB dirty: first read after ${readMs.toFixed(0)} ms, first write after ${writeMs.toFixed(0)} ms`)
    }
  })
}
