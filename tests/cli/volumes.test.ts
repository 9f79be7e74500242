/** Volumes that come and go while the daemon runs. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import type { VolumeStatus } from '../../lib/ports/control.js'
import { STATUS } from '../../lib/ports/guest.js'
import { addition, place, write } from './volumes-lab.js'

t.test('list and show', async (t) => {
  const { directory, serve, ask } = place(t)
  t.match(await ask('volume', 'list'), { code: EXIT.unreachable, stdout: '', stderr: /^holdfast: no daemon answers on / })
  await serve()
  t.same(await ask('volume', 'list'), { code: EXIT.done, stderr: '', stdout: [
    `NAME  PHASE    OWNER  POLICY                  DIRTY  GUEST  SOCKET`,
    `db01  standby  -      (write-back, 0 copies)  0 B    -      ${directory}/db01.sock`, ''].join('\n') })
  const listed = JSON.parse((await ask('volume', 'list', '--json')).stdout) as VolumeStatus[]
  t.match(listed, [{ name: 'db01', phase: 'standby' }])
  t.match((await ask('volume', 'show', 'db01')).stdout, /^volume db01: standby\n {2}policy {3}write-back, 0 copies, once this host serves it\n/)
  t.match(JSON.parse((await ask('volume', 'show', 'db01', '--json')).stdout), { name: 'db01', backing: `${directory}/db01.raw` })
  t.same(await ask('volume', 'show', 'db09'), { code: EXIT.usage, stdout: '', stderr: 'holdfast: no volume db09 on this host; there are: db01\n' })
})

t.test('add: served at once and after a restart; remove: its data on the backing, under its own name', async (t) => {
  const { directory, serve, ask } = place(t)
  const first = await serve()
  t.same(await ask(...addition(directory, 'db02')), { code: EXIT.done, stderr: '', stdout: `db02 is served on ${directory}/db02.sock, now and after every start of the daemon\n` })
  t.same(JSON.parse((await ask(...addition(directory, 'db03'), '--json')).stdout), { volume: 'db03', socket: `${directory}/db03.sock` })
  await write(t, join(directory, 'db02.sock'), 7)
  first.child.kill('SIGKILL')
  await first.ended
  await serve()
  t.match((await ask('volume', 'list')).stdout, /^db01 .*\ndb02 .*\ndb03 /m, 'a kill forgets nothing')
  await write(t, join(directory, 'db02.sock'), 8)
  const client = await VhostClient.connect(join(directory, 'db02.sock'))
  t.equal(await client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  t.match(await ask('volume', 'remove', 'db02'), { code: EXIT.unsafe, stderr: 'holdfast: a guest is connected to volume db02: shut it down or migrate it first (nothing was changed)\n' })
  await client.close()
  t.match(await ask('volume', 'remove', 'db02'), { code: EXIT.done, stdout: /^db02 is not served any more; everything is on its backing/ })
  t.equal(readFileSync(join(directory, 'db02.raw'))[4096], 8)
  t.notOk(existsSync(join(directory, 'db02.sock')))
  t.match(JSON.parse((await ask('volume', 'remove', 'db03', '--json')).stdout), { volume: 'db03' })
  t.notOk(existsSync(join(directory, 'region.volumes')), 'nothing is left to remember')
  t.match(await ask('volume', 'remove', 'db03'), { code: EXIT.usage, stderr: 'holdfast: no volume db03 on this host; there are: db01\n' })
  t.match(await ask(...addition(directory, 'db02')), { code: EXIT.done }, 'and again')
})

t.test('what cannot be added changes nothing', async (t) => {
  const { directory, serve, ask } = place(t)
  await serve()
  const refused = async (code: number, stderr: string | RegExp, ...args: string[]): Promise<void> => { t.match(await ask(...args), { code, stdout: '', stderr }, args.join(' ')) }
  await refused(EXIT.usage, `holdfast: volume db01 is there already, from ${directory}/h.toml (nothing was changed)\n`, ...addition(directory, 'db01'))
  await refused(EXIT.config, 'holdfast: volume db02: volume[db02].copies = 1 needs peers, and there are none; add [[peer]]', ...addition(directory, 'db02').slice(0, -2))
  await refused(EXIT.config, 'holdfast: volume db02: volume[db02].backing is missing; it must be a path', 'volume', 'add', 'db02', '--set', 'copies=0')
  await refused(EXIT.config, `holdfast: volume db02: volume[db02].backing = "${directory}/db01.raw" is volume[db01].backing already; each needs a path of its own\n`,
    'volume', 'add', 'db02', '--backing', join(directory, 'db01.raw'), '--socket', join(directory, 'x.sock'), '--set', 'copies=0')
  await refused(EXIT.config, /^holdfast: .*none.raw cannot be opened: there is no such file/, 'volume', 'add', 'db02', '--backing', join(directory, 'away/none.raw'), '--socket', join(directory, 'x.sock'), '--set', 'copies=0')
  await refused(EXIT.usage, /^holdfast: --set copies: it must be KEY=VALUE, and the keys are backing, socket, /, 'volume', 'add', 'db02', '--set', 'copies')
  await refused(EXIT.usage, 'holdfast: --set domain=vm17: the value must be as in the configuration, where words are in quotation marks, like --set \'domain="value"\'\n', 'volume', 'add', 'db02', '--set', 'domain=vm17')
  await refused(EXIT.usage, /^holdfast: volume db01 is from .*h.toml: take its \[\[volume\]\] out there, then reload the daemon/, 'volume', 'remove', 'db01')
  t.match((await ask('volume', 'list')).stdout, /^NAME.*\ndb01.*\n$/)
  t.notOk(existsSync(join(directory, 'region.volumes')))
})
