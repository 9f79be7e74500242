/** Flush up to a write, freeze and thaw, drain: what an operator asks of a volume while its guest goes on writing. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab, PATIENT } from './lab.js'

const SECTORS = 2049
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }
const quiet = (): void => undefined
const DB01 = { volume: 'db01' } as const

for (const order of ['journal', 'flush', 'cut'] as const) {
  t.test(`a freeze holds the image at one point while the guest writes, by ${order} (SEED=${seed})`, async (t) => {
    const { cluster, held } = await lab(t, 'freeze', SECTORS * 512, { timing: PATIENT, volume: `destage_delay = "20ms"\norder = "${order}"` })
    await cluster.start()
    const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), buffer)
    const model = new DiskModel(SECTORS, seed)
    await model.run(client, 150)
    const then = Buffer.from(model.image)
    const { volumes } = await a.control.freeze(DB01, 60_000, quiet)
    t.match(volumes, [{ volume: 'db01' }])
    t.ok(readFileSync(held).equals(then), 'the image is the disk as of the freeze')
    for (let i = 0; i < 3; i++) {
      await model.run(client, 100)
      t.ok(readFileSync(held).equals(then), 'and stays so, whatever the guest writes')
    }
    const status = await a.volume('db01')
    t.equal(status.outlook.frozenAt, volumes[0]!.cut)
    t.ok(status.base === volumes[0]!.cut && status.dirtyBytes > 0)
    await t.rejects(a.control.freeze(DB01, 1000, quiet), /db01 is frozen; "holdfast volume thaw db01" first/)
    await t.rejects(a.control.flush('db01', null, quiet), /is frozen/)
    await t.rejects(a.control.policy('db01', 'write-through', quiet), /is frozen/)
    t.match(await a.control.thaw(DB01), { volumes: [{ volume: 'db01', cut: volumes[0]!.cut }] })
    await a.control.flush('db01', null, quiet)
    t.same(model.settle(readFileSync(held)), [], 'afterwards it gets the rest')
    t.same(model.wrong, [])
    await t.rejects(a.control.thaw(DB01), /is not frozen on this host; if it was/)
    await client.close()
  })
}

t.test('a freeze that outlives its lease, or its owner, is an error of thaw', async (t) => {
  const { cluster } = await lab(t, 'lease', SECTORS * 512, { timing: PATIENT, volume: 'destage_delay = "20ms"' })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), buffer)
  const model = new DiskModel(SECTORS, seed)
  await model.run(client, 50)
  const { volumes } = await a.control.freeze(DB01, 300, quiet)
  await model.run(client, 50)
  await until('the lease to run out', 5000, async () => (await a.volume('db01')).outlook.freezeBroken !== null)
  await until('destaging to go on', 5000, async () => (await a.volume('db01')).base > volumes[0]!.cut)
  await t.rejects(a.control.thaw(DB01), /the freeze of volume db01 broke: its lease of 0 s ran out; what was read below since may be of two points in time/)
  await a.control.freeze(DB01, 60_000, quiet)
  await client.close()
  const onB = await VhostClient.connect(cluster.socket('b'), buffer)
  t.same(model.settle(await model.readAll(onB)), [])
  await until('a to know', 5000, async () => (await a.volume('db01')).owner === 'b')
  await t.rejects(a.control.thaw(DB01), /is not frozen on this host, and b owns it; if it was/)
  await onB.close()
})

t.test('a copy that is lost breaks the freeze: acks wait for everything to be on the backing', async (t) => {
  const { cluster } = await lab(t, 'copyless', SECTORS * 512, { volume: 'destage_delay = "20ms"' })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), buffer)
  const model = new DiskModel(SECTORS, seed)
  await model.run(client, 50)
  await a.control.freeze(DB01, 60_000, quiet)
  await model.run(client, 50)
  await cluster.host('b').kill9()
  await model.run(client, 50)
  t.match(await a.volume('db01'), { policy: { effective: 'write-through' }, outlook: { freezeBroken: /the guest waits for everything to be on the backing \(0 of 1 copies/ } })
  await t.rejects(a.control.thaw(DB01), /broke: the guest waits/)
  await client.close()
})

t.test('a region that fills up breaks the freeze, not the guest', async (t) => {
  const { cluster } = await lab(t, 'full', 16 * 1024 * 1024, { hosts: ['a'], copies: 0, regionSize: '33MiB', volume: 'destage_delay = "20ms"' })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: 1024 * 1024 })
  await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 })
  await a.control.freeze(DB01, 60_000, quiet)
  for (let i = 0; i < 60; i++) {
    t.equal(await client.submit({ kind: 'write', lbaSectors: (i % 16) * 2048, lengthSectors: 2048, bufferOffset: 0 }), 0)
  }
  t.match(await a.volume('db01'), { outlook: { freezeBroken: /the region has no room left/ } })
  await t.rejects(a.control.thaw(DB01), /broke: the region has no room left/)
  await client.close()
})

t.test(`flush up to a write, and drain: write-through, nothing dirty, and back (SEED=${seed})`, async (t) => {
  const { cluster, held } = await lab(t, 'drain', SECTORS * 512, { timing: PATIENT, volume: 'destage_delay = "60s"' })
  await cluster.start()
  const a = cluster.host('a'), client = await VhostClient.connect(cluster.socket('a'), buffer)
  const model = new DiskModel(SECTORS, seed)
  await model.run(client, 100)
  const { acked, base } = await a.volume('db01')
  t.ok(base < acked)
  const half = Math.floor(acked / 2)
  t.ok((await a.control.flush('db01', half, quiet)).base >= half)
  await t.rejects(a.control.flush('db01', acked + 1_000_000, quiet), /nothing is acknowledged beyond write/)
  const writing = model.run(client, 300)
  t.match(await a.control.policy('db01', 'write-through', quiet), { effective: 'write-through' })
  await writing
  await t.rejects(a.control.freeze(DB01, 1000, quiet), /acknowledges nothing before it is on the backing \(write-through\), so a freeze would stop its guest/)
  t.same(model.settle(readFileSync(held)), [], 'what is acknowledged is on the image at once')
  t.match(await a.volume('db01'), { dirtyBytes: 0, policy: { effective: 'write-through' } })
  await model.run(client, 50)
  t.same(model.settle(readFileSync(held)), [])
  t.match(await a.control.policy('db01', 'write-back', quiet), { effective: 'write-back, 1 copy' })
  await model.run(client, 50)
  t.ok((await a.volume('db01')).dirtyBytes > 0)
  t.same(model.settle(await model.readAll(client)), [])
  await cluster.host('b').kill9()
  await until('write-through', 30_000, async () => (await a.volume('db01')).policy.effective === 'write-through')
  await t.rejects(a.control.policy('db01', 'write-back', quiet), /stays in write-through until it can have its copies: 0 of 1 copies/)
  t.same(model.wrong, [])
  await client.close()
})

t.test('all disks of a VM are frozen at one instant', async (t) => {
  const two = await lab(t, 'domain', SECTORS * 512, { hosts: ['a'], copies: 0, volume: 'destage_delay = "20ms"\ndomain = "vm1"' })
  const other = two.work.image('other.raw', SECTORS * 512), socket = two.work.file('other.sock')
  const { cluster } = two
  const { appendFileSync } = await import('node:fs')
  appendFileSync(cluster.host('a').config, `\n[[volume]]\nname = "log01"\nbacking = "${other}"\nsocket = "${socket}"\ncopies = 0\ndomain = "vm1"\ndestage_delay = "20ms"\n`)
  await cluster.start()
  const a = cluster.host('a')
  const clients = [await VhostClient.connect(cluster.socket('a'), { bufferBytes: 512 }), await VhostClient.connect(socket, { bufferBytes: 512 })]
  let count = 0, stop = false
  // The log disk is written before the data disk, and each write only after the one before was acknowledged.
  const writer = (async () => {
    while (!stop) {
      count++
      for (const client of [clients[1]!, clients[0]!]) {
        new DataView(client.buffer.buffer, client.buffer.byteOffset).setUint32(0, count, true)
        await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 1, bufferOffset: 0 })
      }
    }
  })()
  for (let i = 0; i < 8; i++) {
    await sleep(60)
    await a.control.freeze({ domain: 'vm1' }, 60_000, quiet)
    const [data, log] = [two.held, `${other}.holdfast`].map((path) => readFileSync(path).readUInt32LE(0)) as [number, number]
    t.ok(log === data || log === data + 1, `log ${log}, data ${data}: the data disk is never ahead`)
    t.equal((await a.control.thaw({ domain: 'vm1' })).volumes.length, 2)
  }
  stop = true
  await writer
  await t.rejects(a.control.freeze({ domain: 'vm2' }, 1000, quiet), /no volume of domain vm2 on this host/)
  for (const client of clients) await client.close()
})

t.test('max_dirty_age bounds how far the image lags: writes wait for it, and go on', async (t) => {
  const { work, cluster } = await lab(t, 'age', SECTORS * 512, {
    hosts: ['a'], copies: 0, volume: 'destage_delay = "100ms"\nmax_dirty_age = "1s"',
    extra: '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nerror_rate = 1\nerror_file = "@ERRORS@"\n',
  })
  const errors = work.file('errors'), a = cluster.host('a')
  writeFileSync(a.config, readFileSync(a.config, 'utf8').replace('@ERRORS@', errors))
  await cluster.start()
  const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: 512 })
  const write = (lba: number): Promise<number> => client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: 1, bufferOffset: 0 })
  t.equal(await write(1), 0)
  writeFileSync(errors, '')
  t.equal(await write(2), 0, 'a storage that refuses writes does not stop the guest at once')
  await until('the image to be too far behind', 10_000, async () => /max_dirty_age/.test((await a.volume('db01')).policy.reason ?? ''))
  let answered = false
  const third = write(3).then((status) => { answered = true; return status })
  await sleep(300)
  t.notOk(answered, 'then its writes wait')
  rmSync(errors)
  t.equal(await third, 0, 'until the image has caught up')
  await client.close()
})
