/** Ceph PWL 41490: the root was damaged at queue depth 2. Promises made all at once hold after a power cut at any instant. */
import t from 'tap'
import { epoch, won } from '../../lib/core/units.js'
import { Random } from '../../fixtures/fuzz/random.js'
import { Machine, REGION } from '../../fixtures/crash/machine.js'
import { mediumAfter, randomState } from '../../fixtures/crash/states.js'
import { CrashLab } from './crash-lab.js'

const VOLUMES = ['1', '2', '3'].map((digit) => `${digit.repeat(8)}-2222-4333-8444-555555555555`)
const ROUNDS = 6

interface Promised { readonly volume: string; readonly sealed: number; readonly base: number; readonly at: number }

t.test('bases and seals of several volumes, saved side by side', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), promised: Promised[] = [], begun = machine.timeline.now
  const saves = VOLUMES.flatMap((volume) => Array.from({ length: ROUNDS }, async (_, i) => {
    const state = i % 3 === 2 ? { sealed: epoch(i) } : { base: won(i + 1) }
    await machine.region.saveVolumeState(volume, state)
    promised.push({ volume, sealed: state.sealed ?? 0, base: state.base ?? 0, at: machine.timeline.now })
  }))
  await machine.drive('the saves', () => Promise.all(saves))
  t.equal(promised.length, VOLUMES.length * ROUNDS)
  const random = new Random(7)
  for (let at = begun; at <= machine.timeline.now; at++) {
    const after: Machine = await lab.machine(machine.remainsAt(at, false, (name, disk) =>
      ({ medium: mediumAfter(disk, at, name === REGION ? randomState(random) : { kind: 'everything', nth: 0 }, random), cached: [] })))
    const lost = promised.filter((each) => each.at <= at).filter(({ volume, sealed, base }) => {
      const state = after.region.volumeState(volume)
      return state.sealed < sealed || state.base < base
    })
    t.same(lost, [], `power cut at ${at}`)
  }
})
