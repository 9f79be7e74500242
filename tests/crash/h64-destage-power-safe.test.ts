/**
 * H64: the image must not get what a power cut can still take from the log. Else a block of the last cut that a later cut
 * wrote over would be in no log, and look like one of another image: the volume would be refused without cause.
 */
import t, { type Test } from 'tap'
import type { DestageOrder } from '../../lib/volume/destager.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { problemOf, checkPrefix } from '../../fixtures/crash/legal.js'
import { IMAGE, REGION, type Machine } from '../../fixtures/crash/machine.js'
import { CrashLab, readIds, remainsNow, runDry, runUntil } from './crash-lab.js'

/** Records after a flush that are durable by themselves, and one more. */
const BEYOND_EAGER = 5

async function write(t: Test, machine: Machine, lba: number): Promise<void> {
  machine.guest.ask(REQUEST_KIND.write, lba, 8)
  t.ok(await runDry(machine))
}

/** A cut is on the image, but for the end of its flush, when the power goes: the region keeps what it must, and the first `kept` of the rest. */
async function cutUnderWay(t: Test, machine: Machine, kept: number) {
  const { ring, volume } = machine
  ring.hold = (file, kind) => file === IMAGE && kind === 'flush'
  machine.timeline.time.within(() => volume.operations.flush()).catch(() => undefined)
  t.ok(await runUntil(machine, () => ring.held === 1), 'all of the cut is written')
  return remainsNow(machine, (disk, at, name) => ({ medium: disk.mediumAt(at, (_write, i) => name !== REGION || i < kept), cached: [] }))
}

for (const order of ['journal', 'flush', 'cut'] satisfies DestageOrder[]) t.test(`the power goes amid a cut with records that nobody had flushed, by ${order}`, async (t) => {
  const lab = new CrashLab(t, { order }), machine = await lab.machine(), { guest } = machine
  await write(t, machine, 0)
  await machine.flush()
  await write(t, machine, 100)
  guest.flush()
  t.ok(await runDry(machine), 'so much is dirty for sure')
  for (let i = 0; i < BEYOND_EAGER; i++) await write(t, machine, 200 + i * 16)
  await write(t, machine, 0)
  const remains = await cutUnderWay(t, machine, 0)
  const after = await lab.machine(remains)
  t.equal(problemOf(checkPrefix(guest.history, await readIds(after), 2, 3 + BEYOND_EAGER)), null)
  t.same([after.volume.check.changed, after.warnings], [null, []])
  machine.ring.release()
})

t.test('in write-through there are no samples, so the guest waits for no flush more', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest, volume, timeline, ring } = machine
  const samples = (): unknown => machine.region.volumeState(volume.id!).samples
  await write(t, machine, 0)
  await machine.flush()
  t.same(samples(), [{ lba: 0, sectors: 8, crc: (samples() as [{ crc: number }])[0].crc }])
  timeline.time.within(() => volume.driver.dispatch({ type: 'policy', mode: 'write-through' }))
  t.ok(await runUntil(machine, () => volume.claim!.mode === 'write-through'))
  t.notOk('samples' in volume.claim!)
  ring.hold = (file, kind) => file === IMAGE && kind === 'flush'
  guest.ask(REQUEST_KIND.write, 100, 8)
  guest.ask(REQUEST_KIND.write, 0, 8)
  t.ok(await runUntil(machine, () => ring.held === 1 && machine.disk(IMAGE).uncertainAt(timeline.now).length >= 1))
  t.equal(samples(), undefined, 'before anything of the first cut was written')
  for (const kept of [0, 1, 2, 3]) {
    const remains = remainsNow(machine, (disk, at, name) => ({ medium: disk.mediumAt(at, (_write, i) => name !== REGION || i < kept), cached: [] }))
    const after = await lab.machine(remains)
    t.equal(after.volume.check.changed, null)
  }
  ring.release()
  t.ok(await runDry(machine))
  t.equal(samples(), undefined, 'nor has the cut left any')
})
