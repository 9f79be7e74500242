/** Seals that come from another host of the cluster, by hand. */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { epoch } from '../../lib/core/units.js'
import type { Answer } from '../../lib/ports/peer.js'
import type { VolumeStatus } from '../../lib/ports/control.js'
import { Site } from '../peer/lab.js'
import { until } from '../../fixtures/lab/workspace.js'
import { lab, type Lab } from './lab.js'

/** Host c of the cluster, which is this test and not a daemon. */
async function asC(t: Test, { work, cluster }: Lab): Promise<Site> {
  const listens = /^listen = "127\.0\.0\.1:(\d+)"$/m
  const port = (host: string): number => Number(listens.exec(readFileSync(cluster.host(host).config, 'utf8'))![1])
  const file = (name: string): Buffer => readFileSync(work.file(`pki/${name}`))
  const site = new Site({
    host: 'c', listen: { address: '127.0.0.1', port: port('c') },
    peers: ['a', 'b'].map((host) => ({ host, address: '127.0.0.1', port: port(host) })),
    tls: { certificate: file('c.crt'), key: file('c.key'), ca: file('ca.crt') },
  })
  await site.start()
  t.teardown(() => site.network.stop())
  await until('c to be connected', 10_000, () => site.dialed('a').incarnation !== null && site.dialed('b').incarnation !== null)
  return site
}

t.test('a late seal of an epoch that its owner has left behind stops nothing', async (t) => {
  const place = await lab(t, 'late', 4 * 1024 * 1024, {
    hosts: ['a', 'b', 'c'], replicas: { a: ['b'], b: ['a'], c: ['a', 'b'] }, volume: 'destage_delay = "60s"',
  })
  const { cluster } = place, a = cluster.host('a'), b = cluster.host('b')
  await Promise.all([a.start(), b.start()])
  const client = await VhostClient.connect(cluster.socket('a'))
  const write = (lba: number): Promise<number> => client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: 8, bufferOffset: 0 })
  t.equal(await write(0), 0)
  const c = await asC(t, place)
  const first = await a.volume('db01')
  await b.kill9()
  t.equal(await write(8), 0)
  await b.start()
  const now = await until('write-back in a later epoch', 10_000, async (): Promise<VolumeStatus | null> => {
    const v = await a.volume('db01')
    return v.epoch > first.epoch && v.policy.effective === 'write-back, 1 copy' ? v : null
  })
  await until('c to be connected again', 10_000, () => c.dialed('b').incarnation !== null)
  const seal = async (host: string, number: number, handOver: boolean): Promise<Answer> =>
    (await c.dialed(host).request({ type: 'seal', volume: now.id!, epoch: epoch(number), handOver }, 3000)).message

  for (const handOver of [false, true]) {
    for (const host of ['a', 'b']) t.match(await seal(host, first.epoch, handOver), { type: 'sealed' }, `${host} answers, hand-over ${handOver}`)
    t.equal(await write(16), 0, 'a write after it')
  }
  t.equal(await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }), 0)
  t.match(await a.volume('db01'), { epoch: now.epoch, phase: 'serving', owner: 'a', policy: { effective: 'write-back, 1 copy', reason: null } })

  t.match(await seal('a', now.epoch, true), { type: 'sealRefused', reason: /guest is running/ }, 'a running guest is not handed over')
  t.equal(await write(24), 0)
  t.match(await a.volume('db01'), { epoch: now.epoch, phase: 'serving' })

  // The member is sealed for the present epoch: nothing of it may be acknowledged any more (R3), so the owner changes the claim.
  t.match(await seal('b', now.epoch, false), { type: 'sealed', quiet: false })
  t.equal(await write(32), 0)
  const after = await a.volume('db01')
  t.ok(after.epoch > now.epoch, `epoch ${now.epoch} ended, ${after.epoch} goes on`)
  t.match(after, { phase: 'serving', owner: 'a' })
  t.ok(a.child!.output.includes('b is left out: sealed for c') || a.child!.output.includes(`epoch ${now.epoch} is sealed here`), 'and says why')
  await client.close()
})
