import t from 'tap'
import { ended } from '../../lib/cli/serve.js'
import { EXIT } from '../../lib/core/failure.js'

t.test('a stop has an end, whatever hangs', async (t) => {
  await t.resolves(ended({ stop: () => Promise.resolve([]) }, 5000))
  await t.rejects(ended({ stop: () => Promise.resolve(['db01', 'db02']) }, 5000), { exitCode: EXIT.unsafe, message: /before everything of db01, db02 was on the shared storage; the rest is in the region and on the copies/ })
  await t.rejects(ended({ stop: () => new Promise(() => undefined) }, 50), { exitCode: EXIT.unsafe, message: /^not everything could be brought to its end within 0.05 s, so the daemon ends as after a crash: nothing that was acknowledged is lost/ })
})
