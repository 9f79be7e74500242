/**
 * A batch of completions is published by the flags of its first entry. A back end may die before or after that, with
 * everything else already written: each moment is made here from the bytes of two others.
 */
import t, { type Test } from 'tap'
import { PackedCrashLab } from './packed-crash-lab.js'

const SIZE = 16
const asked = (ids: readonly number[]): string[] => ids.map((id) => `write ${id}+1`)

interface Moment { readonly ring: Uint8Array; readonly region: Uint8Array }

/** Chains 1 to 4 are taken, 3 and 2 are completed in one batch; what was in memory before and after. */
async function batch(t: Test, at: number): Promise<{ lab: PackedCrashLab; before: Moment; after: Moment; put(ring: Uint8Array, region: Uint8Array): void }> {
  const lab = await PackedCrashLab.begin(t, SIZE, at), { volume, ring, fe } = lab, { view } = lab.region
  const ringBytes = fe.memory.bytes.subarray(ring.entryAt(0), ring.entryAt(0) + SIZE * 16), regionBytes = new Uint8Array(view.buffer, 0, 32 + SIZE * 32)
  const now = (): Moment => ({ ring: ringBytes.slice(), region: regionBytes.slice() })
  volume.hold = true
  await lab.take([1, 2, 3, 4])
  const before = now(), from = ring.seen
  volume.release(2, 1)
  await new Promise(setImmediate)
  const after = now()
  if (!ring.isUsed(from)) throw new Error('the batch was not published')
  return { lab, before, after, put: (r, g) => { ringBytes.set(r); regionBytes.set(g) } }
}

/** All of the batch is in the ring but the flags that show it. */
function unpublished({ before, after }: { before: Moment; after: Moment }, at: number): Uint8Array {
  const ring = after.ring.slice(), flags = at % SIZE * 16 + 14
  ring.set(before.ring.subarray(flags, flags + 2), flags)
  return ring
}

/** Header fields: 12 to 16 free and old free, 16 to 22 used and old used. In the middle of a batch the old ones are old. */
function half(before: Uint8Array, after: Uint8Array, marks: 'left' | 'cleared'): Uint8Array {
  const region = marks === 'cleared' ? after.slice() : before.slice()
  // Links of the free list, which are written before the batch is published.
  for (let state = 0; state < SIZE; state++) region.set(after.subarray(32 + state * 32 + 2, 32 + state * 32 + 4), 32 + state * 32 + 2)
  region.set(after.subarray(12, 14), 12)
  region.set(before.subarray(14, 16), 14)
  region.set(after.subarray(16, 18), 16)
  region.set(before.subarray(18, 20), 18)
  region.set([after[20]!, before[21]!], 20)
  return region
}

// The last of them end, or cross, a round within the batch.
for (const at of [0, 3, 9, 10, 13, 15, 16, 26, 31]) {
  for (const region of ['as before', 'half written'] as const) {
    t.test(`a crash before the publishing store (region ${region}) does the batch again, and leaves no mark of it (from ${at})`, async (t) => {
      const { lab, before, after, put } = await batch(t, at), { ring, volume } = lab
      await lab.crash({ meanwhile: () => put(unpublished({ before, after }, at), region === 'as before' ? before.region : half(before.region, after.region, 'left')) })
      t.same(volume.takeAsked(), asked([1, 2, 3, 4]))
      t.same(ring.takeUsed(), [])
      // Another one than the batch had first: as long, so the driver looks next where the batch's second mark was.
      volume.release(3)
      await new Promise(setImmediate)
      t.same(ring.takeUsed().map(({ head }) => head), [4], 'the driver finds this one, and no mark of the batch')
      volume.release(1)
      await new Promise(setImmediate)
      t.same(ring.takeUsed().map(({ head }) => head), [2])
      volume.release()
      t.same((await ring.waitUsed(2)).map(({ head }) => head), [1, 3])
      t.equal(ring.seen, ring.offered)
    })
  }

  for (const marks of ['left', 'cleared'] as const) {
    t.test(`a crash after it, the marks ${marks}, does not repeat what the guest has seen (from ${at})`, async (t) => {
      const { lab, before, after, put } = await batch(t, at), { ring, volume } = lab
      await lab.crash({ meanwhile: () => put(after.ring, half(before.region, after.region, marks)) })
      t.same(volume.takeAsked(), asked([1, 4]))
      t.same(ring.takeUsed().map(({ head }) => head), [3, 2])
      volume.release()
      t.same((await ring.waitUsed(2)).map(({ head }) => head), [1, 4])
      await lab.take([5, 6, 7, 8, 9])
      volume.takeAsked()
      await lab.crash()
      t.same(volume.takeAsked(), asked([5, 6, 7, 8, 9]), 'no state of the region was lost')
    })
  }

  t.test(`the same when the driver has used the entry again meanwhile (from ${at})`, async (t) => {
    const { lab, before, after, put } = await batch(t, at), { ring, volume } = lab
    await lab.crash({ meanwhile: () => {
      put(after.ring, half(before.region, after.region, 'left'))
      if (ring.takeUsed().length !== 2) throw new Error('the driver saw no batch')
      for (const id of [10, 11, 12]) ring.build(id, 1, id, [{ offset: 0x30000, bytes: 512 }])
    } })
    t.same(volume.takeAsked(), asked([1, 4, 10, 11, 12]))
  })
}

t.test('a batch of the whole ring moves nothing but the wrap counter', async (t) => {
  for (const published of [true, false]) {
    const lab = await PackedCrashLab.begin(t, 12, 0), { volume, ring, fe } = lab, { view } = lab.region
    const ringBytes = fe.memory.bytes.subarray(ring.entryAt(0), ring.entryAt(0) + 12 * 16), regionBytes = new Uint8Array(view.buffer, 0, 32 + 12 * 32)
    volume.hold = true
    await lab.take([0, 1, 2, 3])
    const before = regionBytes.slice(), flags = ring.flags(0)
    volume.release()
    await new Promise(setImmediate)
    const after = regionBytes.slice(), header = before.slice()
    header.set(after.subarray(12, 14), 12)
    header[20] = after[20]!
    for (let state = 0; state < 12; state++) header.set(after.subarray(34 + state * 32, 36 + state * 32), 34 + state * 32)
    const done = ringBytes.slice()
    await lab.crash({ base: ring.baseOf(0), meanwhile: () => {
      ringBytes.set(done)
      regionBytes.set(header)
      if (!published) ring.setFlags(0, flags)
    } })
    t.same(volume.takeAsked(), published ? [] : asked([0, 1, 2, 3]))
    volume.release()
    t.equal((await ring.waitUsed(4)).length, 4)
    await lab.take([5])
    volume.release()
    t.same((await ring.waitUsed(1)).map(({ head }) => head), [5], 'both sides are in the next round')
  }
})
