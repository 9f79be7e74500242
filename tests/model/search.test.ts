/** A part of `make model` that is small enough for every day: one scope as it is, and rules that are taken away from it and from others. */
import t from 'tap'
import { SCOPES } from '../../fixtures/model/scopes.js'
import { search } from '../../fixtures/model/search.js'
import { applies } from '../../fixtures/lab/mutant.js'
import { MUTANTS, runMutant } from '../../fixtures/model/mutants.js'

const quiet = (): void => undefined

t.test('everything that can happen to one write, a takeover and a crash breaks no promise', async (t) => {
  const { found, complete, states } = search('everyday', new Set(), 200_000, quiet)
  t.equal(found, null)
  t.ok(complete)
  t.ok(states > 1000, `${states} states`)
})

/** In the model's own parts. */
for (const rule of ['R10', 'R15']) {
  t.test(`without ${rule} (${MUTANTS[rule]!.what}) a promise is broken, and a shortest way there is told`, async (t) => {
    const { found } = search('failover', new Set([rule]), 100_000, quiet)
    t.match(found, { violation: /^I[1-5]: / })
    t.ok(found!.trace.length >= 3 && found!.trace.every((label) => label.length > 0))
  })
}

/** In a broken copy of the real core. */
for (const rule of ['R4', 'R4b', 'R2']) {
  t.test(`without ${rule} (${MUTANTS[rule]!.what}) a promise is broken`, async (t) => {
    t.match((await runMutant(rule)).violation, /^I[1-5]: /)
  })
}

t.test('every rule of the protocol can be taken away, in a scope that there is', async (t) => {
  const rules = 'R1 R2 R3 R4 R4b R5 R5b R6 R7 R8 R8b R8c R8d R8e R9 R10 R11 R12 R13 R14 R15 R16 R17 R18'.split(' ')
  t.same(Object.keys(MUTANTS), rules)
  for (const rule of rules) t.ok(SCOPES[MUTANTS[rule]!.scope] !== undefined, rule)
})

t.test('and what takes it away is in the program', async (t) => {
  for (const [rule, { edits = [] }] of Object.entries(MUTANTS)) t.same(edits.filter((edit) => !applies(edit)), [], rule)
})
