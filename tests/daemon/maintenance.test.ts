/** May a host be switched off, and `maintenance`, which makes it so: between real hosts, with guests that go on. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import type { MaintenanceResult } from '../../lib/ports/control.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { bench, host, seed } from './maintenance-lab.js'

t.test(`a replica's host: its copies move to another host, which a restart does not undo (SEED=${seed})`, async (t) => {
  const { cluster, client, model, at, set, held } = await bench(t, 'leave', ['a', 'b', 'c'])
  t.same(await set(), ['a', 'b'])
  t.match(await host(at('b'), 'ok-to-stop'), { code: EXIT.unsafe, stdout: '', stderr: 'holdfast: b must not be stopped, volume db01: its writes are copied to this host, and a serves it\n' })
  t.match(await host(at('c'), 'ok-to-stop'), { code: EXIT.done, stdout: 'c may be stopped\n' })
  const writing = model.run(client, 200)
  const done = await host(at('b'), 'maintenance', 'on', '-p')
  t.match(done, { code: EXIT.done, stdout: /^b is in maintenance and may be switched off/ })
  await writing
  t.same(await set(), ['a', 'c'])
  t.match(await at('a').volume('db01'), { policy: { effective: 'write-back, 1 copy', reason: null } }, 'no fault, and no less than was asked for')
  t.match((await holdfast('status', '--control', at('a').controlPath)).stdout, /^ {2}peer b +connected, in maintenance,/m)
  t.match((await holdfast('status', '--control', at('b').controlPath)).stdout, /^ {2}MAINTENANCE +this host is to hold no copies/m)

  await at('b').kill9()
  await model.run(client, 50)
  t.same(await set(), ['a', 'c'], 'nobody misses it')
  await at('b').start()
  await until('b to be connected', 10_000, async () => (await at('a').status()).peers.some((peer) => peer.host === 'b' && peer.maintenance))
  t.match(await at('b').status(), { maintenance: true })
  await at('c').kill9()
  await until('write-through', 20_000, async () => (await at('a').volume('db01')).policy.effective === 'write-through')
  t.match(await at('a').volume('db01'), { policy: { reason: '0 of 1 copies: c not reachable, b in maintenance' } })
  await model.run(client, 50)
  t.same(model.settle(readFileSync(held)), [], 'what is acknowledged is on the image')
  t.match(await host(at('b'), 'maintenance', 'off'), { code: EXIT.done, stdout: 'b is not in maintenance any more\n' })
  await until('a copy on b', 20_000, async () => (await set()).includes('b'))
  await model.run(client, 50)
  t.same(model.settle(await model.readAll(client)), [])
  t.same(model.wrong, [])
  await client.close()
  t.ok(cluster.host('a').child!.exit === null)
})

t.test(`two hosts: without another host for the copy the guest goes on in write-through (SEED=${seed})`, async (t) => {
  const { client, model, at, set, held } = await bench(t, 'two', ['a', 'b'])
  const writing = model.run(client, 200)
  const { code, stdout } = await host(at('b'), 'maintenance', 'on', '--json')
  await writing
  t.equal(code, EXIT.done)
  t.match(JSON.parse(stdout), { host: 'b', on: true, ok: true, reasons: { length: 0 } })
  t.same(await set(), ['a'])
  t.match(await at('a').volume('db01'), { dirtyBytes: 0, policy: { effective: 'write-through', reason: '0 of 1 copies: b in maintenance' } })
  await at('b').kill9()
  await model.run(client, 50)
  t.same(model.settle(readFileSync(held)), [], 'what is acknowledged is on the image')
  t.same(model.settle(await model.readAll(client)), [])
  await client.close()
})

t.test('the owner\'s host: a guest that runs is left alone and said; without one everything is drained', async (t) => {
  const { client, model, at, held } = await bench(t, 'own', ['a', 'b'])
  const asked = await host(at('a'), 'ok-to-stop', '--json')
  t.match(asked, { code: EXIT.unsafe, stderr: /^holdfast: a must not be stopped, volume db01: a guest is served here; migrate it or shut it down\nholdfast: a must not be stopped, volume db01: .* are not on its backing yet\n$/ })
  t.match(JSON.parse(asked.stdout), { host: 'a', ok: false, reasons: [{ volume: 'db01', kind: 'guest' }, { volume: 'db01', kind: 'dirty' }] })
  t.match(await host(at('a'), 'maintenance', 'on'), { code: EXIT.unsafe, stderr: 'holdfast: a must not be stopped, volume db01: a guest is served here; migrate it or shut it down\n' })
  t.same(model.settle(readFileSync(held)), [], 'it was drained all the same')
  t.match(await at('a').volume('db01'), { policy: { effective: 'write-back, 1 copy', reason: null } }, 'and its guest loses nothing')
  await model.run(client, 50)
  await client.close()
  t.match(await host(at('a'), 'ok-to-stop'), { code: EXIT.unsafe, stderr: /are not on its backing yet/ })
  t.match(await host(at('a'), 'maintenance', 'on'), { code: EXIT.done, stdout: /^a is in maintenance and may be switched off/ })
  t.same(model.settle(readFileSync(held)), [])
  t.match(await host(at('a'), 'ok-to-stop'), { code: EXIT.done })
})

t.test('what cannot be drained is said after the time that was given, and a host that is not there is not safe', async (t) => {
  const { work, client, at } = await bench(t, 'stuck', ['a', 'b'], '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nerror_rate = 1\nerror_file = "refuse"\n')
  const refuse = work.file('refuse')
  writeFileSync(refuse, '')
  const own = await host(at('a'), 'maintenance', 'on', '--timeout', '700ms')
  t.match(own, { code: EXIT.unsafe, stderr: /volume db01: .* are not on its backing yet/ })
  await host(at('a'), 'maintenance', 'off')
  const other = await host(at('b'), 'maintenance', 'on', '--timeout', '700ms', '--json')
  t.equal(other.code, EXIT.unsafe)
  t.match(JSON.parse(other.stdout) as MaintenanceResult, { on: true, ok: false, reasons: [{ volume: 'db01', kind: 'copy' }] })
  t.ok(existsSync(work.file('b.region.maintenance')))
  rmSync(refuse)
  t.match(await host(at('b'), 'maintenance', 'on'), { code: EXIT.done })
  await client.close()
  await at('b').kill9()
  t.match(await host(at('b'), 'ok-to-stop'), { code: EXIT.unreachable })
})
