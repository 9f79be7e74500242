/** The record of members under daemons that run: two changes at once, damage, and a restart meanwhile. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { listOf, members, peer, peersNow } from './members-lab.js'

t.test('two hosts add one each at the same time; a damaged record', { timeout: 110_000 }, async (t) => {
  const place = await members(t, 'race', ['a', 'b']), { at, store } = place, folder = join(store, '.members')
  const added = await Promise.all([peer(at('a'), 'add', 'x', '127.0.0.1:1'), peer(at('b'), 'add', 'y', '127.0.0.1:2')])
  t.same(added.map(({ code }) => code), [EXIT.done, EXIT.done])
  const names = async (host: string): Promise<string[]> => (await listOf(at(host))).hosts.map(({ name }) => name).sort()
  for (const host of ['a', 'b']) await until(`both on ${host}`, 12_000, async () => (await names(host)).join() === 'a,b,x,y')
  await until('every host to have noted itself', 12_000, async () => (await listOf(at('a'))).hosts.filter(({ incarnation }) => incarnation !== null).length === 2)
  t.match(await peer(at('a'), 'add', 'x', '127.0.0.1:1'), { code: EXIT.done, stdout: 'x is there already, with this address\n' })
  t.match(await peer(at('a'), 'add', 'z', '127.0.0.1:1'), { code: EXIT.usage, stderr: /z cannot have the address of x/ })
  t.match(await peer(at('a'), 'add', 'z', '::1:7400'), { code: EXIT.usage, stderr: /is no address/ })

  const newest = readdirSync(folder).sort().at(-1)!, file = join(folder, newest), good = readFileSync(file, 'utf8')
  writeFileSync(file, good.replace('127.0.0.1', '127.0.0.2'))
  t.match(await peer(at('a'), 'add', 'z', '127.0.0.1:3'), { code: EXIT.damaged, stderr: new RegExp(`the record of members ${file} does not match its checksum; nothing was changed`) })
  t.match(await holdfast('peer', 'list', '--store', store), { code: EXIT.damaged })
  await until('a to say so', 12_000, async () => (await at('a').status()).members!.problem !== null)
  t.match(await peer(at('a'), 'list'), { code: EXIT.unreachable, stdout: /^ {2}b +\S+ +connected/m, stderr: /what is shown is what the daemon knew last: .*does not match its checksum/ })
  t.same(readdirSync(folder).sort().at(-1), newest, 'nothing was written')
  t.match(at('a').child!.output, /the record of members cannot be followed, generation \d+ is followed as before: .*does not match its checksum/)

  // While it is so, the last known one goes on, over a restart as well.
  writeFileSync(file, good)
  t.match(await peer(at('b'), 'revoke', 'x'), { code: EXIT.done })
  await until('a to follow', 12_000, async () => (await listOf(at('a'))).hosts.find(({ name }) => name === 'x')!.revoked)
  const after = readdirSync(folder).sort().at(-1)!
  writeFileSync(join(folder, after), 'nothing of ours')
  await at('a').kill9()
  await at('a').start()
  await peersNow(place, 'a', 'b')
  t.ok((await listOf(at('a'))).hosts.find(({ name }) => name === 'x')!.revoked, 'a revoked host stays out')
  t.ok(existsSync(place.work.file('a.region.members')))
})
