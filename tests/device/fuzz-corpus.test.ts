/** What fuzzing once found, and a stretch of fresh recipes: every invariant of fixtures/fuzz holds. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { runRecipe, runSeeds } from '../../fixtures/fuzz/attack.js'
import type { Recipe } from '../../fixtures/fuzz/steps.js'
import { ROOT } from '../../fixtures/lab/workspace.js'

const CORPUS = join(ROOT, 'fixtures/fuzz/corpus')
const SEED = 1, SECONDS = 2
const folder = mkdtempSync(join(tmpdir(), 'hf-corpus-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

for (const file of readdirSync(CORPUS).sort()) {
  const { note } = JSON.parse(readFileSync(join(CORPUS, file), 'utf8')) as Recipe
  // A process of its own: what was found once ended it, or stopped it.
  t.test(`${file}: ${note}`, async (t) => t.equal((await runRecipe(join(CORPUS, file))).failure, null))
}

for (const target of ['rings', 'messages']) {
  t.test(`${target} from seed ${SEED} for ${SECONDS} s`, async (t) => {
    const { failure, seed, executions } = await runSeeds(target, SECONDS, SEED, folder)
    const again = `again with: node dist/fixtures/fuzz/main.js --target ${target} --seed ${seed}`
    t.equal(failure, null, failure === null ? `${executions} recipes` : again)
  })
}
