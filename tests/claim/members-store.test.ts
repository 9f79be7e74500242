/** The record of members: in a directory and on a lease volume, by way of workers, changed by several at once. */
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ClaimWorkers } from '../../lib/claim/claim-workers.js'
import { formatLease } from '../../lib/claim/lease-format.js'
import { decodeMembers, encodeMembers } from '../../lib/claim/members-codec.js'
import { MembersStore } from '../../lib/claim/members-store.js'
import { EXIT } from '../../lib/core/failure.js'
import { adding, revoking, type Members } from '../../lib/core/members.js'
import { epoch } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import type { SwapOutcome } from '../../lib/ports/claim-store.js'
import type { DocumentText } from '../../lib/ports/shared-document.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

const at = (port: number) => ({ address: '::1', port })
const add = (name: string, port: number) => adding({ name, at: at(port) }, limits.peersMax + 1)
const MEMBERS: Members = {
  format: 1, generation: 3, nonce: 'a'.repeat(32),
  hosts: [{ name: 'a', at: at(1), faultDomain: 'rack-1', incarnation: 'b'.repeat(32) }, { name: 'b', at: { address: 'hv2.example.org', port: 2 }, revoked: true }],
}

function workers(t: Test, host: string): ClaimWorkers {
  const made = new ClaimWorkers(host, { info: () => undefined, warn: (m) => t.comment(m) })
  t.teardown(() => made.close())
  return made
}

t.test('text and record', async (t) => {
  t.same(decodeMembers(encodeMembers(MEMBERS), 'here'), MEMBERS)
  const good = encodeMembers(MEMBERS)
  for (const [text, why] of [
    ['', /cannot be read as JSON/], [good.slice(0, -10), /cannot be read as JSON/], [good.replace('"port": 1', '"port": 4'), /does not match its checksum/],
    [good.replace(/"revoked": true/, '"revoked":true '), /does not match its checksum/],
  ] as const) t.throws(() => decodeMembers(text, 'here'), { exitCode: EXIT.damaged, message: why })
  for (const bad of [
    { ...MEMBERS, hosts: [MEMBERS.hosts[0]!, MEMBERS.hosts[0]!] }, { ...MEMBERS, generation: 0 }, { ...MEMBERS, hosts: [{ name: 'A', at: at(1) }] }, { ...MEMBERS, hosts: [{ name: 'a', at: at(0) }] },
    { ...MEMBERS, hosts: [{ name: 'a', at: { address: '[::1]', port: 1 } }] }, { ...MEMBERS, more: 1 },
  ]) t.throws(() => encodeMembers(bad as Members))
})

for (const kind of ['directory', 'lease'] as const) {
  t.test(`${kind}: several hosts change it at once, and everybody's change is in it`, async (t) => {
    const work = new Workspace('members'), place = work.file('shared'), hosts = ['a', 'b', 'c']
    t.teardown(() => work.close())
    if (kind === 'lease') await formatLease(place, { hosts, slots: 4, volumes: 4 }, false)
    else mkdirSync(place)
    const byHost = hosts.map((host) => workers(t, host)), stores = byHost.map((each) => new MembersStore(each.members(place)))
    t.equal(await stores[0]!.read(), null)
    const changes = await Promise.all(stores.flatMap((store, i) => [store.change(add(`x${i}`, 10 + i)), store.change(add(`y${i}`, 20 + i))]))
    t.ok(changes.every(({ changed }) => changed))
    const found = (await stores[2]!.read())!
    t.same(found.hosts.map(({ name }) => name).sort(), ['x0', 'x1', 'x2', 'y0', 'y1', 'y2'])
    t.equal(found.generation, 6, 'one generation for each')
    t.match(await stores[1]!.change(add('x0', 10)), { changed: false, members: { generation: 6 } })
    t.match(await stores[1]!.change(revoking('x0')), { changed: true, members: { generation: 7 } })
    t.equal(await byHost[0]!.store(place, 'db').compareAndSwap(epoch(0), claimOf(1)), 'won', 'beside claims in the same place')
    t.same(await byHost[0]!.volumesIn(place), ['db'], 'and it is no volume')
    t.match(await stores[0]!.read(), { generation: 7 })
    if (kind === 'lease') {
      const nobody = new MembersStore(workers(t, '').members(place))
      t.match(await nobody.read(), { generation: 7 })
      await t.rejects(nobody.change(add('z', 5)), { exitCode: EXIT.unreachable, message: /a lease volume, where each host writes in its own slot; say with --as/ })
    }
  })
}

t.test('a damaged record is said, and nothing is written over it', async (t) => {
  const work = new Workspace('members'), store = new MembersStore(workers(t, 'a').members(work.path)), folder = work.file('.members')
  t.teardown(() => work.close())
  await store.change(add('a', 1))
  const file = join(folder, 'generation-0000000000000001.json'), good = readFileSync(file, 'utf8')
  writeFileSync(file, good.replace('::1', '::2'))
  const damaged = { exitCode: EXIT.damaged, message: new RegExp(`${file} does not match its checksum; nothing was changed`) }
  await t.rejects(store.read(), damaged)
  await t.rejects(store.change(add('b', 2)), damaged)
  t.same(readdirSync(folder), ['generation-0000000000000001.json'])
  writeFileSync(file, good)
  renameSync(file, join(folder, 'generation-0000000000000005.json'))
  await t.rejects(store.change(add('b', 2)), { exitCode: EXIT.damaged, message: /says generation 1; nothing was changed: somebody renamed it/ })
})

/** A place that answers as told, and does what it was asked or not. */
class Unsure {
  found: DocumentText | null = null
  readonly answers: ((expected: number, text: string) => SwapOutcome)[] = []
  take(expected: number, text: string): void { this.found = { generation: expected + 1, text, where: 'there' } }
  read(): Promise<DocumentText | null> { return Promise.resolve(this.found) }
  compareAndSwap(expected: number, text: string): Promise<SwapOutcome> { return Promise.resolve(this.answers.shift()!(expected, text)) }
}

t.test('a change of unknown outcome is looked for', async (t) => {
  const place = new Unsure(), store = new MembersStore(place), done = (expected: number, text: string): SwapOutcome => { place.take(expected, text); return 'won' }
  place.answers.push((expected, text) => { place.take(expected, text); return 'unknown' })
  t.match(await store.change(add('a', 1)), { changed: true, members: { generation: 1 } }, 'it was made')
  place.answers.push(() => 'unknown', done)
  t.match(await store.change(add('b', 2)), { changed: true, members: { generation: 2 } }, 'it was not, and is made then')
  const other = (over: Partial<Members>): string => encodeMembers({ ...decodeMembers(place.found!.text, 'there'), nonce: 'c'.repeat(32), ...over })
  place.answers.push((expected) => { place.take(expected, other({ generation: expected + 1 })); return 'unknown' })
  await t.rejects(store.change(add('c', 3)), { exitCode: EXIT.unreachable, message: /whether the record of members was changed is not known/ }, 'somebody else was there, perhaps after it')
  place.answers.push((expected) => { place.take(expected, other({ generation: expected + 1, nonce: 'd'.repeat(32) })); return 'lost' }, done)
  t.match(await store.change(add('c', 3)), { changed: true, members: { generation: 5, hosts: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] } }, 'a lost one is made again on what won')
})
