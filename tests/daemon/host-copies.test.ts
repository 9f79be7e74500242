/** `holdfast host copies`: the choice for the one of two hosts that stays. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { bench, host, seed } from './maintenance-lab.js'

t.test(`two hosts, and fewer copies for a time: write-back goes on, is said, and ends by itself (SEED=${seed})`, async (t) => {
  const { client, model, at, set, held } = await bench(t, 'fewer', ['a', 'b'])
  t.match(await host(at('a'), 'copies', '0'), { code: EXIT.usage, stderr: /say for how long/ })
  t.match(await host(at('a'), 'copies', 'policy', '--for', '1h'), { code: EXIT.usage })
  t.match(await host(at('a'), 'copies', '0', '--for', '1h'), { code: EXIT.done, stdout: 'a: for 1h, 0 copies will do for db01; what is not on the storage yet may be lost with this host\n' })
  t.same(await set(), ['a', 'b'], 'a copy that there is stays')
  const writing = model.run(client, 200)
  t.match(await host(at('b'), 'maintenance', 'on'), { code: EXIT.done })
  await writing
  await at('b').kill9()
  await model.run(client, 50)
  t.same(await set(), ['a'])
  const { fewerCopiesForMs, ...without } = await at('a').volume('db01')
  t.match(without, { policy: { effective: 'write-back, 0 copies', reason: /^0 of 1 copies: b .*, as an operator chose$/ } })
  t.ok(without.dirtyBytes > 0 && fewerCopiesForMs! > 3_500_000, 'acknowledged before it is on the image')
  t.match((await holdfast('status', '--control', at('a').controlPath)).stdout, /^ {2}FEWER COPIES +will do for about (59|60) min more/m)

  t.match(await host(at('a'), 'copies', '0', '--for', '300ms'), { code: EXIT.done })
  await until('write-through', 15_000, async () => (await at('a').volume('db01')).policy.effective === 'write-through')
  t.match(await at('a').volume('db01'), { fewerCopiesForMs: null, dirtyBytes: 0, policy: { reason: /^0 of 1 copies: b / } })
  await model.run(client, 50)
  t.same(model.settle(readFileSync(held)), [], 'what is acknowledged is on the image')
  t.match(await host(at('a'), 'copies', '0', '--for', '1h'), { code: EXIT.done })
  await until('write-back', 15_000, async () => (await at('a').volume('db01')).policy.effective === 'write-back, 0 copies')
  t.match(await host(at('a'), 'copies', 'policy'), { code: EXIT.done, stdout: 'a: the policy counts again for db01\n' })
  await until('write-through again', 15_000, async () => (await at('a').volume('db01')).policy.effective === 'write-through')
  t.same(model.settle(await model.readAll(client)), [])
  await client.close()
})
