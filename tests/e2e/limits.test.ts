/** A volume's limits, as its guest sees them: what passes in a time, and that nothing is lost while it waits. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

async function limited(work: Workspace, lines: string): Promise<VhostClient> {
  const image = work.image('disk.raw', 64 * 1024 * 1024)
  const cluster = await LabCluster.create(work, { image, hosts: ['a'], copies: 0, regionSize: '128MiB', volume: lines })
  await cluster.start()
  return VhostClient.connect(cluster.socket('a'), { queues: 2 })
}

/** Submits all at once; resolves to the milliseconds that they took together. */
async function burst(client: VhostClient, count: number, lengthSectors: number): Promise<number> {
  const started = performance.now()
  const status = await Promise.all(Array.from({ length: count }, (_, i) =>
    client.submit({ kind: 'write', lbaSectors: i * lengthSectors, lengthSectors, bufferOffset: 0, queue: i % 2 })))
  if (status.some((s) => s !== 0)) throw new Error('a write failed')
  return performance.now() - started
}

t.test('operations a second: a burst passes at once, the rest at the rate, flushes are never held back', async (t) => {
  const work = new Workspace('iops')
  t.teardown(() => work.close())
  const client = await limited(work, 'limit_iops = 200\nlimit_burst = "100ms"')
  const writes = burst(client, 120, 8)
  const flushed = performance.now()
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0, queue: 1 }), 0)
  const flushMs = performance.now() - flushed, ms = await writes
  t.ok(ms >= 450, `120 writes at 200 a second with 20 saved up took ${ms.toFixed(0)} ms`)
  t.ok(flushMs > 0)
  await client.close()
})

t.test('bytes a second', async (t) => {
  const work = new Workspace('bandwidth')
  t.teardown(() => work.close())
  const client = await limited(work, 'limit_bandwidth = "8MiB"\nlimit_burst = "125ms"')
  const ms = await burst(client, 64, 128)
  t.ok(ms >= 350, `4 MiB at 8 MiB a second with 1 MiB saved up took ${ms.toFixed(0)} ms`)
  await client.close()
})
