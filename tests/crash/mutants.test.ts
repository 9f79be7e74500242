/** A build with one rule broken is caught, by a seed that always finds it. */
import t from 'tap'
import { crashMutants, runMutant } from '../../fixtures/crash/mutants.js'

const SEED = '1', SECONDS = '50'
/** Where the rule matters; the others break every order. */
const ORDER: Readonly<Record<string, string>> = { 'journal-header-first': 'journal', 'apply-before-journal': 'journal', 'coalesce-over-flushes': 'flush' }

for (const name of crashMutants) {
  t.test(`${name} is caught`, async (t) => {
    let said = ''
    const exit = await runMutant(name, ['--seed', SEED, '--seconds', SECONDS, '--order', ORDER[name] ?? 'cut'], (text) => { said += text })
    t.equal(exit, 1)
    t.match(said, /^crash: VIOLATION: /m, 'and the reason is a broken promise')
    t.match(said, /^crash: again with: make crash-test SEED=\d+( POINT=\d+)?$/m)
  })
}
