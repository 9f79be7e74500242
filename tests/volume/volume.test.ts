/** Whole hosts, and a guest without a machine: what is acknowledged is read back, whoever dies. */
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab } from './lab.js'

const SECTORS = 2049
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }

const ORDERS = ['journal', 'flush', 'cut'] as const

for (const order of ORDERS) t.test(`random writes, discards and zeroes are read back, from the owner and from the raw image, by ${order} (SEED=${seed})`, async (t) => {
  const { cluster, held } = await lab(t, 'model', SECTORS * 512, { volume: `destage_delay = "60ms"\norder = "${order}"` })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), buffer)
  const model = new DiskModel(SECTORS, seed)
  for (let round = 0; round < 5; round++) {
    await model.run(client, 120)
    t.same(model.settle(await model.readAll(client)), [], `round ${round} from the owner`)
    await a.control.flush('db01', null, () => undefined)
    t.same(model.settle(readFileSync(held)), [], `round ${round} from the image`)
  }
  t.same(model.wrong, [])
  const { counters, policy } = await a.volume('db01')
  t.match(policy, { effective: 'write-back, 1 copy', reason: null })
  t.ok(counters.cuts >= 5 && counters.backingWriteBytes > 0, `${counters.cuts} cuts went to the image`)
  await client.close()
})

for (const order of ORDERS) t.test(`kill -9 of the owner amid writes: another host has every acknowledged one, and the image gets them, by ${order} (SEED=${seed})`, async (t) => {
  const { cluster, held } = await lab(t, 'heir', SECTORS * 512, { volume: `destage_delay = "60ms"\norder = "${order}"` })
  await cluster.start()
  const [a, b] = [cluster.host('a'), cluster.host('b')]
  const model = new DiskModel(SECTORS, seed + 1)
  const onA = await VhostClient.connect(cluster.socket('a'), buffer)
  await model.run(onA, 200)
  const killed = sleep(60).then(() => a.kill9())
  await model.run(onA, 1_000_000)
  await killed
  const onB = await VhostClient.connect(cluster.socket('b'), buffer)
  const unanswered = model.unanswered
  t.same(model.settle(await model.readAll(onB)), [], `as it was, but for ${unanswered} requests that were not answered`)
  const served = await b.volume('db01')
  t.match(served, { phase: 'serving', owner: 'b' })
  t.ok(served.epoch >= 2)
  await model.run(onB, 150)
  t.same(model.settle(await model.readAll(onB)), [], 'the heir goes on')
  await a.start()
  await until('write-back with the returned host', 15_000, async () => (await b.volume('db01')).policy.effective === 'write-back, 1 copy')
  await model.run(onB, 150)
  await b.control.flush('db01', null, () => undefined)
  t.same(model.settle(readFileSync(held)), [], 'and from the image')
  t.same(model.wrong, [])
  t.match(await a.volume('db01'), { phase: 'standby', owner: 'b' })
  await until('the old logs to go', 10_000, async () => (await a.status()).replicas.every((log) => log.epoch > 1))
  await onB.close()
})

t.test('kill -9 of the replica: writes go on write-through with the reason, and come back when it does', async (t) => {
  const { cluster, held } = await lab(t, 'alone', 4 * 1024 * 1024, {
    volume: 'destage_delay = "60s"', extra: '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nwrite_delay = "80ms"',
  })
  await cluster.start()
  const [a, b] = [cluster.host('a'), cluster.host('b')]
  const client = await VhostClient.connect(cluster.socket('a'))
  const write = (lba: number): Promise<number> => {
    client.buffer.fill(lba, lba * 512, (lba + 8) * 512)
    return client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: 8, bufferOffset: lba * 512 })
  }
  t.equal(await write(8), 0)
  t.match(await a.volume('db01'), { policy: { effective: 'write-back, 1 copy', reason: null } })
  t.equal(readFileSync(held)[8 * 512], 0, 'not on the image yet')
  await b.kill9()
  t.equal(await write(16), 0, 'a write without the replica')
  const alone = await until('write-through', 5000, async () => {
    const v = await a.volume('db01')
    return v.policy.effective === 'write-through' ? v : null
  })
  t.match(alone.policy, { requested: 'write-back, 1 copy', reason: '0 of 1 copies: b not reachable' })
  t.same(alone.set, ['a'])
  t.equal(await write(24), 0)
  const image = readFileSync(held)
  for (const lba of [8, 16, 24]) {
    t.ok(image.subarray(lba * 512, (lba + 8) * 512).equals(Buffer.alloc(4096, lba)), `what was acknowledged is on the image: ${lba}`)
  }
  await b.start()
  await until('write-back again', 10_000, async () => (await a.volume('db01')).policy.effective === 'write-back, 1 copy')
  t.equal(await write(32), 0)
  t.match(await a.volume('db01'), { policy: { reason: null }, phase: 'serving', owner: 'a', set: ['a', 'b'] })
  t.equal(readFileSync(held)[32 * 512], 0, 'acknowledged by the copy, not by the image')
  await client.close()
})

t.test('a standby that stops leaves the image with the name that its owner gave it', async (t) => {
  const { cluster, image, held } = await lab(t, 'guard', 4 * 1024 * 1024, {})
  const [a, b] = [cluster.host('a'), cluster.host('b')]
  const serve = async (name: string): Promise<void> => {
    const client = await VhostClient.connect(cluster.socket(name))
    t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
    await client.close()
  }
  await cluster.start()
  await serve('b')
  t.same([await b.stop(), await a.stop()], [0, 0])
  t.same([existsSync(image), existsSync(held)], [true, false], 'both stopped: its own name')
  // b was the last owner: its claim says so until somebody else's does.
  await cluster.start()
  await serve('a')
  t.match(await a.volume('db01'), { owner: 'a', guardedAs: held })
  t.equal(await b.stop(), 0)
  t.same([existsSync(image), existsSync(held)], [false, true], 'the standby is gone, the owner is not')
  await serve('a')
  t.equal(await a.stop(), 0)
  t.same([existsSync(image), existsSync(held)], [true, false])
})
