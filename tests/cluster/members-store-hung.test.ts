/** The place of the record stands still: hosts go on with the last one, a restart meanwhile included, and follow it again afterwards. */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { SlowFolder } from '../../fixtures/lab/slow-folder.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DiskModel } from '../volume/disk-model.js'
import { SECTORS, buffer, listOf, members, peer, peersNow } from './members-lab.js'

t.test('the store hangs', { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse', '/dev/loop-control', 'mkfs.ext4'), timeout: 110_000 }, async (t) => {
  let folder: SlowFolder | null = null
  const place = await members(t, 'memhung', ['a', 'b'], async (work) => (folder = await SlowFolder.create(work)).path), { at, set } = place
  t.match(await peer(at('a'), 'add', 'x', '127.0.0.1:1'), { code: EXIT.done })
  await until('b to know', 20_000, async () => (await listOf(at('b'))).hosts.some(({ name }) => name === 'x'))
  const client = await VhostClient.connect(place.cluster.socket('a'), buffer), model = new DiskModel(SECTORS, 44)
  await model.run(client, 50)

  folder!.hang()
  t.match(await peer(at('a'), 'add', 'y', '127.0.0.1:2'), { code: EXIT.unreachable, stderr: /check the shared storage/ })
  await until('a to say so', 20_000, async () => (await at('a').status()).members!.problem !== null)
  await model.run(client, 50)
  t.same(await set(), ['a', 'b'])
  await at('b').kill9()
  await at('b').start()
  await peersNow(place, 'a', 'b')
  t.ok((await listOf(at('b'))).hosts.some(({ name }) => name === 'x'), 'from what it noted')
  await model.run(client, 50)

  folder!.resume()
  await until('it to be followed again', 30_000, async () => (await at('a').status()).members!.problem === null)
  t.match(await peer(at('b'), 'add', 'z', '127.0.0.1:3'), { code: EXIT.done })
  await until('a to follow', 20_000, async () => (await listOf(at('a'))).hosts.some(({ name }) => name === 'z'))
  t.same(model.settle(await model.readAll(client)), [])
  t.same(model.wrong, [])
  await client.close()
})
