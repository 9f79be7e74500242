/** What was decided at run time, and what a restart knows of it. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { STATUS } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { VOLUME, addition, place } from '../cli/volumes-lab.js'

t.test('a mode that was chosen is kept over a restart, and named by the policy of the file again', async (t) => {
  const { directory, serve, ask } = place(t)
  const first = await serve()
  t.match(await ask('volume', 'policy', 'db01', 'write-through'), { code: EXIT.unsafe, stderr: /^holdfast: volume db01 is not owned by this host/ })
  const client = await VhostClient.connect(join(directory, 'db01.sock'))
  t.equal(await client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  t.match(await ask('volume', 'drain', 'db01'), { code: EXIT.done, stdout: /^db01 is now write-through/ })
  t.match(JSON.parse((await ask('volume', 'show', 'db01', '--json')).stdout), { policy: { requested: 'write-through', effective: 'write-through', reason: null } })
  await client.close()
  await first.stop()
  await serve()
  t.match((await ask('volume', 'list')).stdout, / \(write-through\) /)
  const again = await VhostClient.connect(join(directory, 'db01.sock'))
  t.equal(await again.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  t.match(await ask('volume', 'policy', 'db01', 'write-back'), { code: EXIT.done, stdout: /^db01 is now write-back, 0 copies/ })
  await again.close()
  t.notOk(existsSync(join(directory, 'region.volumes')))
})

t.test('a mode that the file has by now is the file\'s again', async (t) => {
  const { directory, serve } = place(t, VOLUME.replace('copies = 0', 'copies = 0\npolicy = "write-through"')), note = join(directory, 'region.volumes')
  await (await serve()).stop()
  writeFileSync(note, '{"format":1,"volumes":[],"modes":{"db01":"write-through"}}')
  await serve()
  t.notOk(existsSync(note))
})

t.test('a volume of the file counts before one of the same name that was added; one that cannot start waits', async (t) => {
  const { directory, serve, ask } = place(t, '')
  const first = await serve()
  for (const name of ['db01', 'db02']) t.match(await ask(...addition(directory, name)), { code: EXIT.done })
  await first.stop()
  writeFileSync(join(directory, 'h.toml'), readFileSync(join(directory, 'h.toml'), 'utf8') + VOLUME)
  const path = join(directory, 'db02.raw')
  renameSync(path, `${path}.away`)
  const second = await serve()
  t.match((await ask('volume', 'list')).stdout, /^db01 +standby.*\ndb02 +WAITS FOR ITS STORAGE/m)
  t.match(JSON.parse((await ask('volume', 'list', '--json')).stdout), [{ name: 'db01', phase: 'standby' }, { name: 'db02', phase: 'waiting', reason: /db02/ }])
  t.match(await ask('volume', 'show', 'db02'), { code: EXIT.unreachable, stderr: /^holdfast: volume db02 waits for its storage: / })
  renameSync(`${path}.away`, path)
  await until('the volume', 10_000, async () => /^db02 +standby/m.test((await ask('volume', 'list')).stdout))
  t.match((await second.stop()).stderr, /volume db01 was added at run time and is in .*h.toml now, which counts from here on/)
})

t.test('a state file that cannot be read: the daemon does not start without what is in it', async (t) => {
  const { directory, ask, serve } = place(t)
  await (await serve()).stop()
  for (const text of ['{', '{"format":2,"volumes":[],"modes":{}}', '{"format":1,"volumes":[{}],"modes":{}}']) {
    writeFileSync(join(directory, 'region.volumes'), text)
    t.match(await ask('serve'), { code: EXIT.config, stderr: /^holdfast: .*region\.volumes, which says what volumes were added at run time, cannot be read: .*; mend it, or move it away/ }, text)
  }
})
