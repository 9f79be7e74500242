/** A build with one rule broken is caught within a few seeds; `make mutants` tries more of them. */
import t from 'tap'
import { applies } from '../../fixtures/lab/mutant.js'
import { MUTANTS, RARE, runMutant } from '../../fixtures/sim/mutants.js'

const CAUGHT: Readonly<Record<string, RegExp>> = { 'ack-before-replica': / R1 /, 'base-before-flush': / C5 .* waits for a flush/, 'holders-not-sealed': / C4 / }

for (const [name, as] of Object.entries(CAUGHT)) {
  t.test(`${name} is caught`, async (t) => {
    const caught = await runMutant(name)
    t.not(caught.seed, null)
    t.match(caught.violation, as)
  })
}

t.test('every mutant breaks something that is there', async (t) => {
  for (const [name, { edits }] of Object.entries({ ...MUTANTS, ...RARE })) t.same(edits.filter((edit) => !applies(edit)), [], name)
})
