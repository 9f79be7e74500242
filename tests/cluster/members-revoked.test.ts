/** A host that was revoked while it had copies. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DiskModel } from '../volume/disk-model.js'
import { SECTORS, buffer, members, peer, peersNow } from './members-lab.js'

t.test('what a revoked host holds is deleted when no claim names it, and the host is taken back', { timeout: 110_000 }, async (t) => {
  const place = await members(t, 'drop', ['a', 'b', 'c']), { at, address, set } = place
  const client = await VhostClient.connect(place.cluster.socket('a'), buffer), model = new DiskModel(SECTORS, 43)
  await model.run(client, 50)
  t.same(await set(), ['a', 'b'], 'placed there before there was a third one')
  await at('c').start()
  await peer(at('a'), 'add', 'c', address('c'))
  await peersNow(place, 'a', 'c')
  await peersNow(place, 'b', 'c')
  await model.run(client, 50)
  t.same(await set(), ['a', 'b'], 'and left there')
  const held = async (): Promise<number> => (await at('b').status()).replicas.reduce((sum, { records }) => sum + records, 0)
  t.ok(await held() > 0)
  t.match(await peer(at('a'), 'revoke', 'b', '--force'), { code: EXIT.done })
  await until('the copies on b to go', 20_000, async () => await held() === 0)
  t.same(await set(), ['a', 'c'])
  await model.run(client, 50)
  await at('b').kill9()
  await at('b').start()
  t.match(await at('b').status(), { peers: [], members: { selfRevoked: true } })
  t.match(await peer(at('a'), 'add', 'b', address('b')), { code: EXIT.done })
  await peersNow(place, 'a', 'b')
  await peersNow(place, 'b', 'c')
  t.same(model.settle(await model.readAll(client)), [])
  t.same(model.wrong, [])
  await client.close()
})
