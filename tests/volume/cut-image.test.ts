import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { CutSampler } from '../../lib/core/fingerprint.js'
import { RUN } from '../../lib/core/layer.js'
import { epoch, won } from '../../lib/core/units.js'
import { crc } from '../../lib/io/crc.js'
import type { Extents } from '../../lib/ports/clean.js'
import type { Backing } from '../../lib/ports/io.js'
import { CutImage } from '../../lib/volume/cut-image.js'
import { CutSweep } from '../../lib/volume/cut-sweep.js'
import { RegionLab, VOLUME, put } from '../region/region-lab.js'

interface Loaded { readonly image: CutImage; /** What the guest's disk has at the extents, by sector. */ readonly want: ReadonlyMap<number, Buffer> }

/** A log of records that overwrite each other in part, and the image of what is newest. */
async function loaded(t: Test, left = 0): Promise<Loaded> {
  const lab = new RegionLab(t), region = await lab.open(8)
  const log = region.createLog(VOLUME, epoch(1), won(0), 'b'.repeat(32))
  const want = new Map<number, Buffer>()
  for (let i = 1; i <= 60; i++) {
    const sectors = 1 + (i * 37) % 90, lba = (i * 911) % 3000
    const { payload } = await put(log, i, { sectors, lba })
    for (let s = 0; s < sectors; s++) want.set(lba + s, payload.subarray(s * 512, (s + 1) * 512))
  }
  const layer = await log.buildLayer(60, won(0))
  layer.putZero(100_000, 16)
  const extents: Extents = { local: true, lba: [], sectors: [], kind: [], location: [] }
  layer.scan(0, (lba, sectors, kind, location) => {
    extents.lba.push(lba)
    extents.sectors.push(sectors)
    extents.kind.push(kind)
    extents.location.push(location)
    return true
  })
  const image = new CutImage(extents)
  image.allocate()
  t.teardown(() => image.free())
  await log.verify(won(0), won(60 - left), image.take)
  return { image, want }
}

t.test('has the newest of everything, in the order of the disk, each group from a block of its own', async (t) => {
  const { image, want } = await loaded(t)
  t.ok(image.whole)
  let sectors = 0, end = 0, wrong = 0
  for (const [group, lba] of image.lba.entries()) {
    const at = image.at[group]!
    if (at < 0) { t.same([lba, image.sectors[group]], [100_000, 16], 'the zeros'); continue }
    t.ok(at === end && at % 4096 === 0, 'groups follow each other')
    end = at + Math.ceil(image.sectors[group]! / 8) * 4096
    for (let s = 0; s < image.sectors[group]!; s++, sectors++) {
      if (!want.get(lba + s)!.equals(image.memory.bytes.subarray(at + s * 512, at + (s + 1) * 512))) wrong++
    }
  }
  t.same([wrong, sectors, end], [0, want.size, image.lengthBytes])
  t.ok(image.lba.length < 40, `neighbours go together: ${image.lba.length} groups`)
})

t.test('a record that was not read leaves it incomplete', async (t) => {
  t.notOk((await loaded(t, 1)).image.whole)
})

/** A backing in memory, with operations that end when the test says. */
class Slow {
  readonly disk = new Map<number, Buffer>()
  readonly waiting: (() => void)[] = []
  readonly #image: CutImage
  failAt = -1
  constructor(image: CutImage) { this.#image = image }
  write(address: number, lengthBytes: number, offsetBytes: number, _durable: boolean, target: { complete(token: number, result: number): void }, token: number): void {
    const at = address - this.#image.memory.address
    for (let s = 0; s < lengthBytes; s += 512) this.disk.set((offsetBytes + s) / 512, Buffer.from(this.#image.memory.bytes.subarray(at + s, at + s + 512)))
    this.waiting.push(() => target.complete(token, token === this.failAt ? -28 : lengthBytes))
  }
  zero(offsetBytes: number, lengthBytes: number, _unmap: boolean, target: { complete(token: number, result: number): void }, token: number): void {
    for (let s = 0; s < lengthBytes; s += 512) this.disk.set((offsetBytes + s) / 512, Buffer.alloc(512))
    this.waiting.push(() => target.complete(token, 0))
  }
  async end(): Promise<void> {
    while (this.waiting.length > 0) {
      this.waiting.splice(Math.floor(Math.random() * this.waiting.length), 1)[0]!()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

t.test('a sweep brings all of it to the backing, stops where it may not write, and goes on', async (t) => {
  const { image, want } = await loaded(t), slow = new Slow(image), sampler = new CutSampler(crc)
  let allowed = 5, bytes = 0, now = 0
  const took: number[] = []
  const wrote = (n: number, ms: number): void => { bytes += n; took.push(ms) }
  const sweep = new CutSweep({ backing: slow as unknown as Backing, sampler, nowMs: () => ++now, mayWrite: () => allowed-- > 0, wrote }, image)
  const first = sweep.run()
  await slow.end()
  await first
  t.notOk(sweep.done, 'held after five writes')
  allowed = 1000
  const second = sweep.run()
  await slow.end()
  await second
  t.ok(sweep.done)
  t.equal(bytes, want.size * 512 + 16 * 512)
  t.equal(took.length, image.lba.length)
  t.ok(took.every((ms) => ms > 0), 'how long each write took')
  for (const [lba, content] of want) if (!slow.disk.get(lba)!.equals(content)) t.fail(`sector ${lba}`)
  for (const { lba, sectors, crc: sum } of sampler.samples) {
    t.equal(crc(Buffer.concat(Array.from({ length: sectors }, (_, s) => slow.disk.get(lba + s)!)), 0), sum, 'a sample is what was written')
  }
})

t.test('an error ends it when nothing is outstanding any more', async (t) => {
  const { image } = await loaded(t), slow = new Slow(image)
  slow.failAt = 2
  const sweep = new CutSweep({ backing: slow as unknown as Backing, sampler: new CutSampler(crc), mayWrite: () => true, nowMs: () => 0, wrote: () => undefined }, image)
  const run = sweep.run()
  run.catch(() => undefined)
  await slow.end()
  await t.rejects(run, /errno 28/)
  t.equal(slow.waiting.length, 0)
})

t.test('groups of a large cut are at most a megabyte', async (t) => {
  const extents: Extents = { local: true, lba: [], sectors: [], kind: [], location: [] }
  for (let i = 0; i < 1000; i++) {
    extents.lba.push(i * 8)
    extents.sectors.push(8)
    extents.kind.push(RUN.data)
    extents.location.push(randomBytes(3).readUIntBE(0, 3) * 8)
  }
  const image = new CutImage(extents)
  t.same(image.sectors, [2048, 2048, 2048, 1856])
  t.same(image.at, [0, 1048576, 2097152, 3145728])
})
