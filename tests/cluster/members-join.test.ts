/** A host joins while daemons run and a guest writes, stands in for one that dies, and is revoked. */
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { DiskModel } from '../volume/disk-model.js'
import { SECTORS, buffer, listOf, members, peer, peersNow } from './members-lab.js'

t.test('a host joins at run time, takes the copies of one that dies, and one is revoked', { timeout: 110_000 }, async (t) => {
  const place = await members(t, 'join', ['a', 'b', 'c']), { at, address, set } = place
  const client = await VhostClient.connect(place.cluster.socket('a'), buffer), model = new DiskModel(SECTORS, 42)
  await model.run(client, 100)
  t.same(await set(), ['a', 'b'])
  t.match(await listOf(at('a')), { store: place.store, generation: 0, problem: null, hosts: [{ name: 'b', onlyConfigured: true, connected: true }] })
  await at('c').start()
  t.same((await at('c').status()).peers, [], 'it knows nobody, and nobody knows it')

  t.match(await peer(at('a'), 'add', 'c', address('c'), '--fault-domain', 'rack-2'), { code: EXIT.done, stdout: /^c belongs to the cluster \(generation \d+\)/, stderr: '' })
  await peersNow(place, 'a', 'c')
  await peersNow(place, 'b', 'c')
  await until('all incarnations', 12_000, async () => (await listOf(at('b'))).hosts.every(({ incarnation }) => incarnation !== null))
  const known = await listOf(at('b')), incarnation = (await at('c').status()).incarnation
  t.match(known.hosts.find(({ name }) => name === 'c'), { address: address('c'), faultDomain: 'rack-2', incarnation, revoked: false, onlyConfigured: false, connected: true })
  t.match(known.hosts.map(({ name }) => name), ['a', 'b', 'c'], 'with those that only the configuration named')

  const writing = model.run(client, 150)
  await at('b').kill9()
  await writing
  await until('c to stand in', 15_000, async () => { await model.run(client, 10); return (await set()).join() === 'a,c' })
  t.match(await at('a').volume('db01'), { policy: { effective: 'write-back, 1 copy', reason: null } })
  await at('b').start()
  await peersNow(place, 'a', 'b')

  // c has the only other copy of what is dirty.
  t.match(await peer(at('a'), 'revoke', 'c'), {
    code: EXIT.unsafe, stderr: /^holdfast: c was not revoked: volume db01: c has the only other copy of .* that are not on its backing yet;.*"holdfast host maintenance on" there first, or --force .*\(nothing was changed\)\n$/,
  })
  t.match(await peer(at('b'), 'revoke', 'a'), { code: EXIT.unsafe, stderr: /volume db01: a owns it/ })
  t.match(await peer(at('a'), 'revoke', 'a'), { code: EXIT.usage, stderr: /a is this host; revoke it from another one/ })
  t.match(await peer(at('a'), 'revoke', 'x'), { code: EXIT.usage, stderr: /no host x in the record; there are: a, b, c/ })
  const done = await peer(at('b'), 'revoke', 'c')
  t.match(done, { code: EXIT.done, stdout: /^c is revoked/ })
  t.match(done.stderr, /not looked at: volume db01: c has a copy, and whether it is the only other one is known on a, which owns it\n.*not looked at: volumes that are not configured on this host\n/)
  await until('b to stand in, although nothing is written', 15_000, async () => (await set()).join() === 'a,b')
  await model.run(client, 50)
  await until('c to know', 15_000, async () => (await at('c').status()).members!.selfRevoked)
  t.match((await at('a').status()).peers.map(({ host }) => host), ['b'])
  const says = (host: string, text: RegExp): number => at(host).child!.output.match(new RegExp(text, 'g'))?.length ?? 0
  t.equal(says('c', /this host, c, was revoked \(generation \d+ of the members/), 1)
  t.equal(says('a', /c was revoked \(generation \d+ of the members\): it is cut off, and refused from here on/), 1)
  t.match((await holdfast('status', '--control', at('c').controlPath)).stdout, /^ {2}REVOKED +no other host talks to this one/m)

  t.equal(says('a', /c is left out: revoked; no connection with it is allowed any more/), 1, 'at once, and not because it is late')

  await t.test('it is refused with a valid certificate, and by a record that it cannot see', async (t) => {
    await at('c').kill9()
    writeFileSync(at('c').config, readFileSync(at('c').config, 'utf8').replace(`[cluster]\nstore = "${place.store}"`, '')
      .concat(`\n[[peer]]\nname = "a"\naddress = "${address('a')}"\n`))
    await at('c').start()
    await until('c to be refused', 10_000, () => says('c', /a refuses this host, which was revoked there/) > 0)
    t.equal(says('a', /refused c at .*, and will go on doing so: it was revoked/), 1)
    t.same((await at('c').status()).peers.map(({ dialed, accepted }) => [dialed, accepted]), [[false, false]])
    t.same((await at('a').status()).peers.map(({ host }) => host), ['b'])
  })
  t.same(model.settle(await model.readAll(client)), [])
  t.same(model.wrong, [])
  await client.close()
})
