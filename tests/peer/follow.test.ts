/** Peers that change while a network runs: with certificates, and without, where a peer is who it says. */
import t from 'tap'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { Street, issue, type Site } from './lab.js'

const work = new Workspace('follow')
t.teardown(() => work.close())
const ours = await issue(work, 'ours', ['a', 'b', 'c'])
const SETTLED_MS = 400

for (const [kind, tls] of [['TLS', ours], ['plain', null]] as const) {
  t.test(kind, async (t) => {
    const street = await Street.create(t, ['a', 'b', 'c'], tls), at = (host: string) => ({ host, address: '127.0.0.1', port: street.ports.get(host)! })
    const a = await street.site('a', ['b']), b = await street.site('b', ['a']), c = await street.site('c', [])
    await until('a and b', 5000, () => a.linked('b') && b.linked('a'))
    const before = a.accepted('b')
    const linked = (one: Site, other: string): boolean => one.network.dialed.has(other) && one.linked(other)

    a.network.follow([at('b'), at('c')], [])
    c.network.follow([at('a')], [])
    await until('a and c', 5000, () => linked(a, 'c') && linked(c, 'a'))
    t.equal(a.accepted('b'), before, 'who stays is left alone')
    t.ok(a.linked('b'))

    a.network.follow([at('c')], ['b'])
    t.same([[...a.network.dialed.keys()], [...a.network.accepted.keys()]], [['c'], ['c']])
    t.equal(before.push({ type: 'claimChanged', claim: null as never }), false, 'nothing is sent there any more')
    await until('both ends to be closed', 5000, () => a.heard(/^lost b: b was revoked$/) && a.heard(/^b is not connected to us any more: b was revoked$/))
    await until('b to be refused', 5000, () => a.heard(/^refused b at 127\.0\.0\.1, and will go on doing so: it was revoked$/))
    await sleep(SETTLED_MS)
    t.equal(a.said.filter((line) => /^refused b/.test(line)).length, 1, 'which is said once')
    if (tls !== null) t.equal(b.said.filter((line) => /^a refuses this host, which was revoked there;/.test(line)).length, 1)
    t.equal(b.accepted('a').incarnation, null)
    t.ok(linked(a, 'c'))

    a.network.follow([at('b'), at('c')], [])
    await until('b to be back', 8000, () => linked(a, 'b') && b.linked('a'))
    a.network.follow([{ ...at('b'), port: street.ports.get('c')! }, at('c')], [])
    await until('another address to be dialed', 5000, () => a.heard(/^lost b: it has another address now$/))
    await until('who is there to be found out', 5000, () => a.heard(tls === null ? /is c with protocol 1, expected b/ : /the certificate there names c instead of b/))
    t.equal(a.dialed('b').incarnation, null)
  })
}

t.test('a peer that knows a newer record says so, also before it is a peer', async (t) => {
  const street = await Street.create(t, ['a', 'b'], ours), newer: number[] = []
  const a = await street.site('a', [], { members: { generation: () => 3, newer: (generation) => { newer.push(generation) } } })
  await street.site('b', ['a'], { members: { generation: () => 4, newer: (generation) => { newer.push(-generation) } } })
  await until('a to hear of it', 5000, () => newer.length > 0)
  t.same([...new Set(newer)], [4])
  t.equal(a.changes, 0)
})
