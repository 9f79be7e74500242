/** The rules of ownership that live in the volume, each named by its number: a real one over recorded disks. */
import t, { type Test } from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { IndexLayer } from '../../lib/core/index-layer.js'
import { epoch, won } from '../../lib/core/units.js'
import type { Answer } from '../../lib/ports/peer.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { VolumeIndex, type Level } from '../../lib/volume/volume-index.js'
import { IMAGE, REGION, type Machine } from '../../fixtures/crash/machine.js'
import { CrashLab, powerCut, readIds, runDry, runUntil } from '../crash/crash-lab.js'

const QUARANTINE_MS = 3000

async function write(t: Test, machine: Machine, lba: number): Promise<void> {
  machine.guest.ask(REQUEST_KIND.write, lba, 8)
  t.ok(await runDry(machine), 'a write is acknowledged')
}

/** A cut that waits for the image: for `kind`. */
async function cutHeld(t: Test, machine: Machine, kind: 'write' | 'flush'): Promise<void> {
  machine.ring.hold = (file, what) => file === IMAGE && what === kind
  machine.timeline.time.within(() => machine.volume.cuts.destager.cut(null)).catch(() => undefined)
  t.ok(await runUntil(machine, () => machine.ring.held > 0), `the ${kind} is under way`)
}

const imageWrites = (machine: Machine): number => machine.volume.counters.backingWriteBytes

t.test('R10: what is not acknowledged is not destaged; R15: nor read', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest, ring, volume } = machine
  await write(t, machine, 0)
  ring.hold = (file, kind) => file === REGION && kind === 'write'
  guest.ask(REQUEST_KIND.write, 100, 8)
  t.ok(await runUntil(machine, () => ring.held > 0), 'the second record is on its way')
  t.equal(volume.writes.epoch!.ackedWon, 1)
  let seen = 0
  volume.index.resolve(100, 8, (source) => { seen += source })
  t.equal(seen, 0, 'the index knows nothing of it')
  machine.volume.cuts.freeze()
  t.equal(volume.index.nextCut(false, Number.MAX_SAFE_INTEGER as never)!.cut, 1)
  ring.release()
  t.ok(await runDry(machine))
})

t.test('R7: an owner that cannot renew its claim writes nothing to the backing', async (t) => {
  const lab = new CrashLab(t, { order: 'cut' }), machine = await lab.machine(), { ring, volume, timeline, claims } = machine
  await write(t, machine, 0)
  ring.hold = (file, kind) => file === REGION && kind === 'read'
  t.ok(await runUntil(machine, () => ring.held > 0), 'a cut reads what it is going to write')
  const read = claims.read.bind(claims), since = timeline.time.nowMs
  claims.read = () => Promise.reject(new Error('the claim does not answer'))
  await runUntil(machine, () => timeline.time.nowMs - since > 70_000)
  ring.release()
  await runUntil(machine, () => false, 100)
  t.equal(imageWrites(machine), 0)
  claims.read = read
  t.ok(await runUntil(machine, () => volume.base === 1), 'and goes on when it can')
})

t.test('R11: base rises when the backing was flushed', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { ring, volume } = machine
  await write(t, machine, 0)
  await cutHeld(t, machine, 'flush')
  await runUntil(machine, () => false, 50)
  t.equal(volume.base, 0)
  ring.release()
  t.ok(await runUntil(machine, () => volume.base === 1))
})

t.test('R17: an owner that is sealed amid a cut raises no base', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { ring, volume, timeline } = machine
  await write(t, machine, 0)
  await cutHeld(t, machine, 'flush')
  const answers: Answer[] = []
  timeline.time.within(() => volume.handOver.onSeal({ type: 'seal', volume: volume.id!, epoch: epoch(1), handOver: false }, (answer) => answers.push(answer)))
  t.ok(await runUntil(machine, () => answers.length > 0))
  t.match(answers, [{ type: 'sealed', length: 1, base: 0 }])
  ring.release()
  await runUntil(machine, () => false, 100)
  t.equal(volume.base, 0, 'the next owner has been told of base 0')
})

t.test('R18: a cut during which the backing had an error is written again', async (t) => {
  const lab = new CrashLab(t, { order: 'cut' }), machine = await lab.machine(), { ring, volume } = machine
  await write(t, machine, 0)
  await cutHeld(t, machine, 'flush')
  const once = imageWrites(machine)
  // Of another request to the same server, which has forgotten what it had completed.
  ring.hold = () => false
  ring.intrude = (file, kind) => (file === IMAGE && kind === 'flush' ? -5 : 0)
  let answered = false
  machine.backing.flush({ complete: () => { answered = true } }, 0)
  t.ok(await runUntil(machine, () => answered))
  ring.intrude = () => 0
  ring.release()
  t.ok(await runUntil(machine, () => volume.base === 1))
  t.equal(imageWrites(machine), 2 * once)
})

t.test('R8d: after a restart on the same host quarantine begins; R8: nothing is retired in it; R8c: at its end all is written, then retired', async (t) => {
  const lab = new CrashLab(t, { quarantineMs: QUARANTINE_MS, durability: 'write' }), before = await lab.machine()
  await write(t, before, 0)
  const machine = await lab.machine(powerCut(before)), { volume, timeline } = machine, since = timeline.time.nowMs
  t.equal(volume.claim!.quarantine, true, 'R8d')
  machine.guest.ask(REQUEST_KIND.write, 100, 8)
  await runUntil(machine, () => timeline.time.nowMs - since >= QUARANTINE_MS - 500)
  t.same([volume.base, imageWrites(machine), volume.claim!.quarantine], [0, 0, true], 'R8')
  t.ok(await runUntil(machine, () => !volume.claim!.quarantine), 'R8c')
  t.ok(imageWrites(machine) >= 8 * 512, 'what was inherited was written first')
  t.ok(await runUntil(machine, () => volume.base === 2))
  t.not((await readIds(machine))[0], 0)
})

t.test('R12: a base that a holder knows hides every older inherited log, and no newer one', async (t) => {
  const index = new VolumeIndex(), level = (number: number, cut: number): Level => {
    const layer = new IndexLayer()
    layer.putData(0, 8, number * 100)
    return { layer, remote: null, epoch: number, cut: won(cut), betweenFlushes: false }
  }
  const reads = (): number[] => {
    const from: number[] = []
    index.resolve(0, 8, (_source, found) => { from.push(found?.epoch ?? 0) })
    return from
  }
  const [first, second] = [level(1, 5), level(2, 9)]
  index.inherit([first, second])
  index.hide(won(5))
  t.same([index.has(first), index.has(second), reads()], [false, true, [2]])
  index.hide(won(9))
  t.same(reads(), [0], 'the backing')
})

/** The claim changes, and its writer does not hear of it until `hear`. */
function slowAnswer(machine: Machine): { readonly changed: () => boolean; hear(): void } {
  const { claims } = machine, swap = claims.compareAndSwap.bind(claims)
  let changed = false, hear = (): void => undefined
  const heard = new Promise<void>((resolve) => { hear = resolve })
  claims.compareAndSwap = async (expected, next) => {
    const outcome = await swap(expected, next)
    changed = true
    await heard
    return outcome
  }
  return { changed: () => changed, hear: () => hear() }
}

t.test('R9: an epoch that was won here, and not heard of yet, is not sealed for another host', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { volume, timeline } = machine, answer = slowAnswer(machine)
  const capacityBytes = volume.claim!.guest.capacityBytes + 4096
  timeline.time.within(() => volume.driver.dispatch({ type: 'resize', capacityBytes }))
  t.ok(await runUntil(machine, answer.changed))
  for (const handOver of [true, false]) {
    const answers: Answer[] = []
    machine.guest.running = false
    timeline.time.within(() => volume.handOver.onSeal({ type: 'seal', volume: volume.id!, epoch: epoch(2), handOver }, (message) => answers.push(message)))
    t.ok(await runUntil(machine, () => answers.length > 0))
    t.match(answers, [{ type: 'sealRefused', reason: /a claim change is under way/ }])
  }
  answer.hear()
  t.ok(await runUntil(machine, () => volume.claim!.epoch === 2))
  await write(t, machine, 0)
})

t.test('R6: a claim is good from when it was asked for, not from when the answer came', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { volume, timeline, claims } = machine, answer = slowAnswer(machine)
  const dispatch = (event: Parameters<typeof volume.driver.dispatch>[0]): void => { timeline.time.within(() => volume.driver.dispatch(event)) }
  dispatch({ type: 'selfSealed', epoch: epoch(1), reason: 'for another' })
  dispatch({ type: 'want' })
  t.ok(await runUntil(machine, answer.changed))
  const since = timeline.time.nowMs
  await runUntil(machine, () => timeline.time.nowMs - since > 70_000)
  claims.read = () => Promise.reject(new Error('the claim does not answer'))
  answer.hear()
  t.ok(await runUntil(machine, () => volume.serving))
  t.equal(volume.standing.effectivePolicy().effective, 'stopped', 'another host may have taken over meanwhile')
})

/** Loses the volume with a write under way; `then`: how another owner leaves it, which had it meanwhile. Owns it again afterwards. */
async function ownedElsewhere(t: Test, machine: Machine, then: Pick<Claim, 'mode' | 'start'>): Promise<void> {
  const { ring, volume, guest, timeline, claims } = machine, answers: Answer[] = []
  await write(t, machine, 0)
  ring.hold = (file, kind) => file === REGION && kind === 'write'
  guest.ask(REQUEST_KIND.write, 100, 8)
  t.ok(await runUntil(machine, () => ring.held > 0), 'a write is under way')
  timeline.time.within(() => volume.handOver.onSeal({ type: 'seal', volume: volume.id!, epoch: epoch(1), handOver: false }, (answer) => answers.push(answer)))
  ring.release()
  t.ok(await runUntil(machine, () => answers.length > 0), 'and another host seals it')
  const other = { host: 'other', incarnation: '9'.repeat(32) }, claim = volume.claim!
  timeline.time.within(() => claims.compareAndSwap(epoch(1), {
    ...claim, ...then, epoch: epoch(2), owner: other, set: [other], inherited: [], base: then.start, nonce: '7'.repeat(32), ...(then.mode === 'write-back' ? { released: true as const } : {}),
  }))
  timeline.time.within(() => { volume.driver.dispatch({ type: 'want' }); return Promise.resolve() })
  t.ok(await runUntil(machine, () => volume.serving && volume.claim!.epoch === 3, 300_000), 'owner again')
}

t.test('what a guest has asked for since before another guest wrote fails, and does not come over it', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(undefined, true), { volume } = machine
  await ownedElsewhere(t, machine, { mode: 'write-through', start: won(1) })
  const { records } = volume.counters
  t.ok(await runDry(machine), 'it is answered')
  t.equal(volume.counters.records, records, 'and in no record')
  t.equal(volume.writes.epoch!.appendedWon, volume.claim!.start)
})

t.test('where nobody wrote meanwhile it is done', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { volume } = machine
  await ownedElsewhere(t, machine, { mode: 'write-back', start: won(1) })
  t.ok(await runDry(machine), 'it is acknowledged')
  t.equal(volume.writes.epoch!.appendedWon, volume.claim!.start + 1)
})
