/** Some seeds of the simulator, as many as a test's time allows; `make sim` runs as many as one likes. */
import t from 'tap'
import { simulate } from '../../fixtures/sim/run.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const SEED = 1, SEEDS = 120, SECONDS = 25

t.test(`seeds from ${SEED}`, async (t) => {
  const work = new Workspace('sim'), said: string[] = []
  t.teardown(() => work.close())
  const good = await simulate(work, '', {
    firstSeed: SEED, seeds: SEEDS, hosts: null, safetyMs: null, seconds: SECONDS, trace: false, twice: false, one: false, violationsMax: 1, jobs: 1,
  }, (line) => said.push(line))
  t.ok(good, said.join('\n'))
  t.match(said.join('\n'), /acknowledgements [1-9]\d{3}/, 'and guests were served')
})
