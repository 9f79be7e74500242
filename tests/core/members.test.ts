/** Who belongs to the cluster: what a record and a configuration say together, and what changes of the record do. */
import t from 'tap'
import { adding, addingMissing, both, follow, incarnated, revoking, type ListedHost, type Members } from '../../lib/core/members.js'

const host = (name: string, port: number, over: Partial<ListedHost> = {}): ListedHost => ({ name, at: { address: '10.0.0.1', port }, ...over })
const members = (...hosts: ListedHost[]): Members => ({ format: 1, generation: 7, hosts, nonce: '0'.repeat(32) })
const revoked = { revoked: true } as const
const names = (hosts: readonly ListedHost[]): string[] => hosts.map(({ name }) => name)

t.test('without a record the configuration counts; the record wins where both name a host', async (t) => {
  const bootstrap = [host('b', 1), host('c', 2)]
  t.same(follow('a', bootstrap, null), { peers: bootstrap, revoked: [], selfRevoked: false, cutOff: [] })
  const { peers } = follow('a', bootstrap, members(host('a', 9), host('d', 4), host('b', 5, { faultDomain: 'r1' })))
  t.same(names(peers), ['b', 'c', 'd'], 'the configuration\'s order first, and never this host itself')
  t.same(peers[0], host('b', 5, { faultDomain: 'r1' }), 'the record\'s address')
})

t.test('a revoked host is no peer, whoever names it', async (t) => {
  const record = members(host('a', 9), host('b', 5, revoked), host('c', 2))
  t.match(follow('a', [host('b', 5)], record), { peers: [{ name: 'c' }], revoked: ['b'], selfRevoked: false, cutOff: ['b'] })
  const own = follow('b', [host('a', 9), host('d', 3)], record)
  t.same(own, { peers: [], revoked: [], selfRevoked: true, cutOff: ['a', 'c', 'd'] }, 'and has no peers itself')
})

t.test('a host is added, moved, taken back; what says nothing new changes nothing', async (t) => {
  const before = [host('a', 1), host('b', 2, { incarnation: 'f'.repeat(32), faultDomain: 'r1' })]
  t.same(adding(host('c', 3), 17)(before), [...before, host('c', 3)])
  t.equal(adding(host('b', 2), 17)(before), null)
  t.same(adding(host('b', 8), 17)(before)![1], { ...before[1]!, at: { address: '10.0.0.1', port: 8 } }, 'in its place, with what is known of it')
  t.same(adding(host('b', 2, { faultDomain: 'r2' }), 17)(before)![1]!.faultDomain, 'r2')
  t.same(adding(host('b', 2), 17)([host('b', 2, revoked)]), [host('b', 2)], 'not revoked any more')
  t.throws(() => adding(host('c', 2), 17)(before), { exitCode: 64, message: /c cannot have the address of b/ })
  t.same(names(adding(host('c', 2), 17)([host('b', 2, revoked)])!), ['b', 'c'], 'the address of a revoked host is free')
  t.throws(() => adding(host('c', 3), 2)(before), { exitCode: 64, message: /there are 2 hosts already/ })
  t.same(adding(host('c', 3), 2)([host('a', 1), host('b', 2, revoked)])!.length, 3, 'revoked ones do not count')
})

t.test('whoever makes the record brings its own peers along, and overrides nobody', async (t) => {
  t.same(names(both(addingMissing([host('a', 1), host('b', 2)]), adding(host('c', 3), 17))([])!), ['a', 'b', 'c'])
  t.equal(addingMissing([host('a', 1), host('b', 2)])([host('a', 7), host('b', 2, revoked)]), null)
  t.equal(both(addingMissing([host('a', 1)]), adding(host('a', 1), 17))([host('a', 1)]), null)
  t.same(names(both(addingMissing([host('a', 1)]), adding(host('a', 1), 17))([])!), ['a'], 'one of two changes something')
})

t.test('revoking, and what a host says of itself', async (t) => {
  const before = [host('a', 1), host('b', 2)]
  t.same(revoking('b')(before), [before[0], host('b', 2, revoked)])
  t.equal(revoking('b')([host('b', 2, revoked)]), null)
  t.throws(() => revoking('x')(before), { exitCode: 64, message: /no host x in the record; there are: a, b/ })
  t.same(incarnated('b', 'e'.repeat(32))(before)![1], host('b', 2, { incarnation: 'e'.repeat(32) }))
  t.equal(incarnated('b', 'e'.repeat(32))([host('b', 2, { incarnation: 'e'.repeat(32) })]), null)
  t.equal(incarnated('b', 'e'.repeat(32))([host('b', 2, revoked)]), null, 'a revoked host does not write')
  t.equal(incarnated('c', 'e'.repeat(32))(before), null, 'nobody adds itself')
})
