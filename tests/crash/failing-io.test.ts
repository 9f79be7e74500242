/** The k-th operation of the region or the image fails, once or for good: a sample of all k, spread evenly. */
import t from 'tap'
import { FailingIo, type Fault } from '../../fixtures/crash/failing-io.js'
import { IMAGE, REGION, blankRemains } from '../../fixtures/crash/machine.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const SEED = 22, SAMPLES = 6

for (const file of [REGION, IMAGE]) {
  for (const fault of ['once', 'for good'] satisfies Fault[]) {
    t.test(`${file}, ${fault}`, async (t) => {
      const work = new Workspace('failing')
      t.teardown(() => work.close())
      const failing = new FailingIo(work.path, await blankRemains(work.file('blank')), SEED, 'journal'), operations = await failing.operations(file)
      t.ok(operations > SAMPLES, `${operations} operations`)
      for (let i = 0; i < SAMPLES; i++) t.same(await failing.problems(file, 1 + Math.floor(i * operations / SAMPLES), fault), [])
    })
  }
}
