/** Whom a host follows while the place of the record answers, hangs, is damaged, or shows an older record. */
import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { encodeMembers } from '../../lib/claim/members-codec.js'
import { MembersStore } from '../../lib/claim/members-store.js'
import { EXIT, Failure } from '../../lib/core/failure.js'
import type { ListedHost, Members } from '../../lib/core/members.js'
import { Membership } from '../../lib/daemon/membership.js'
import type { DocumentText } from '../../lib/ports/shared-document.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const INCARNATION = 'a'.repeat(32)
const host = (name: string, port: number, over: Partial<ListedHost> = {}): ListedHost => ({ name, at: { address: '10.0.0.1', port }, ...over })
const record = (generation: number, ...hosts: ListedHost[]): Members => ({ format: 1, generation, hosts, nonce: String(generation).padStart(32, '0') })

interface Place { answer: () => Promise<DocumentText | null>; swaps: number }
interface Bench { readonly place: Place; readonly said: string[]; readonly note: string; readonly seen: string[]; show(members: Members | null): void; start(bootstrap?: readonly ListedHost[]): Membership }

function bench(t: Test): Bench {
  const work = new Workspace('follow'), said: string[] = [], seen: string[] = [], note = work.file('region.members')
  t.teardown(() => work.close())
  const place: Place = { answer: () => Promise.resolve(null), swaps: 0 }
  const store = new MembersStore({
    read: () => place.answer(),
    compareAndSwap: (expected, text) => { place.swaps++; place.answer = () => Promise.resolve({ generation: expected + 1, text, where: 'there' }); return Promise.resolve('won') },
  })
  return {
    place, said, note, seen, show: (members) => { place.answer = () => Promise.resolve(members === null ? null : { generation: members.generation, text: encodeMembers(members), where: 'there' }) },
    start: (bootstrap = [host('b', 2)]) => {
      const log = { info: (m: string) => { said.push(`info ${m}`) }, warn: (m: string) => { said.push(`warn ${m}`) } }
      const membership = new Membership({ self: 'a', incarnation: INCARNATION, at: { address: '10.0.0.1', port: 1 }, bootstrap, store: { place: '/san', record: store }, note, log })
      membership.onChange(({ peers }) => { seen.push(peers.map(({ name }) => name).join()) })
      t.teardown(() => membership.stop())
      return membership
    },
  }
}
const peersOf = ({ following }: Membership): string => following.peers.map(({ name }) => name).join()

t.test('a record that cannot be read changes nothing, is said once, and is followed when it can', async (t) => {
  const { show, place, said, seen, start } = bench(t), membership = start()
  await membership.look()
  t.equal(peersOf(membership), 'b', 'without a record the configuration')
  show(record(1, host('a', 1, { incarnation: INCARNATION }), host('b', 2), host('c', 3)))
  await membership.look()
  t.equal(peersOf(membership), 'b,c')
  place.answer = () => Promise.reject(new Failure(EXIT.unreachable, 'it hangs'))
  for (let i = 0; i < 3; i++) await membership.look()
  t.equal(peersOf(membership), 'b,c')
  t.equal(membership.problem, 'it hangs')
  await t.rejects(membership.add({ name: 'd', at: { address: '10.0.0.1', port: 4 } }), { exitCode: EXIT.unreachable, message: 'it hangs' })
  show(record(2, host('a', 1, { incarnation: INCARNATION }), host('b', 2, { revoked: true }), host('c', 3)))
  await membership.look()
  t.equal(peersOf(membership), 'c')
  t.same(seen, ['b,c', 'c'])
  t.same(said, [
    'info c is a peer now (generation 1 of the members)', 'warn the record of members cannot be followed, generation 1 is followed as before: it hangs',
    'info the record of members can be followed again', 'warn b was revoked (generation 2 of the members): it is cut off, and refused from here on',
  ])
  t.equal(place.swaps, 0, 'a host that is noted already writes nothing')
})

t.test('a look that never ends is not begun a second time, and a restart meanwhile knows what was known', async (t) => {
  const { show, place, start, said } = bench(t), first = start()
  show(record(4, host('a', 1, { incarnation: INCARNATION }), host('b', 2, { revoked: true }), host('c', 3)))
  await first.look()
  first.stop()
  let asked = 0
  place.answer = () => { asked++; return new Promise(() => undefined) }
  const second = start()
  void second.look()
  void second.look()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(asked, 1)
  t.equal(peersOf(second), 'c', 'a revoked host is not let in by the configuration')
  t.equal(second.generation, 4)
  t.same(said.filter((line) => line.startsWith('warn')), ['warn b was revoked (generation 4 of the members): it is cut off, and refused from here on'])
})

t.test('an older record is not followed, nor is one that is gone', async (t) => {
  const { show, start, said, note } = bench(t), membership = start()
  show(record(5, host('a', 1, { incarnation: INCARNATION }), host('b', 2, { revoked: true })))
  await membership.look()
  for (const older of [record(3, host('b', 2)), null]) {
    show(older)
    await membership.look()
    t.equal(peersOf(membership), '')
    t.match(membership.problem, `is of generation ${older?.generation ?? 0} and this host knows 5: an older one was put there; to follow it all the same, delete ${note}`)
  }
  t.equal(said.filter((line) => /cannot be followed/.test(line)).length, 1)
})

t.test('a note that is damaged is said and not believed', async (t) => {
  const { note, start, said } = bench(t)
  writeFileSync(note, 'x')
  t.equal(peersOf(start()), 'b')
  t.match(said, [/^warn the members as this host knew them last are not known: .*cannot be read as JSON/])
  t.equal(readFileSync(note, 'utf8'), 'x')
})

t.test('a listed host notes its incarnation; a revoked one writes nothing, has no peers, and looks on', async (t) => {
  const { show, place, start, seen, said } = bench(t), membership = start()
  show(record(1, host('a', 1), host('b', 2)))
  await membership.look()
  t.match(membership.members, { generation: 2, hosts: [{ name: 'a', incarnation: INCARNATION }, { name: 'b' }] })
  t.equal(place.swaps, 1)
  show(record(3, host('a', 1, { revoked: true, incarnation: 'b'.repeat(32) }), host('b', 2)))
  for (let i = 0; i < 3; i++) await membership.look()
  t.equal(place.swaps, 1)
  t.match(membership.following, { peers: [], selfRevoked: true, cutOff: ['b'] })
  t.ok(seen.length >= 4, 'it is told again, so that what no claim names is deleted in the end')
  t.equal(said.filter((line) => /^warn this host, a, was revoked \(generation 3 of the members in \/san\)/.test(line)).length, 1)
  await t.rejects(membership.revoke('a'), { exitCode: EXIT.usage, message: /a is this host/ })
})
