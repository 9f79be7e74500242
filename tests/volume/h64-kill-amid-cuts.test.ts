/** H64, the other side: whatever a crash leaves of a cut, a healthy image is never taken for another one. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { sleep } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab } from './lab.js'

const SECTORS = 2048
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

t.test(`kill -9 amid cuts that write over the last one's places again and again: never refused (SEED=${seed})`, async (t) => {
  for (const order of ['journal', 'flush', 'cut']) {
    const { cluster } = await lab(t, 'h64k', SECTORS * 512, {
      hosts: ['a'], copies: 0, volume: `destage_delay = "20ms"\norder = "${order}"`,
      extra: '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nwrite_delay = "4ms"\nflush_delay = "4ms"\n',
    })
    const a = cluster.host('a'), model = new DiskModel(SECTORS, seed)
    // Beyond the quarantine, in which there are no cuts.
    for (let round = 0; round < 4; round++) {
      await a.start()
      const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: MODEL_BUFFER_BYTES })
      t.same(model.settle(await model.readAll(client)), [], `by ${order}, round ${round}`)
      const death = sleep(600 + ((seed * 7 + round * 131) % 700)).then(() => a.kill9())
      await model.run(client, 1_000_000)
      await death
      t.notMatch(a.child!.output, /other contents|cannot be told/)
    }
    t.same(model.wrong, [])
  }
})
