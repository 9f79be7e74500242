/** Members in maintenance, and fewer copies for a time: claim changes without a fault. */
import t from 'tap'
import { acksFrozen, degradedReason, exemptReason, leaverHolds, mustLetGo, needsExemption } from '../../lib/core/copies.js'
import { Cluster } from './cluster-model.js'

const setOf = (c: Cluster): string => c.claim!.set.map((m) => m.host).sort().join('')
const leaving = (c: Cluster, ...hosts: string[]): void => {
  const others = [...c.hosts.values()].filter((h) => h.alive && h.member.host !== 'a').map((h) => h.member)
  c.do('a', { type: 'members', reachable: others, leaving: hosts })
}
function served(names = ['a', 'b', 'c']): Cluster {
  const c = new Cluster({ replicas: names.slice(1) }, names)
  c.do('a', { type: 'want' })
  c.write(2)
  return c
}

t.test('a member that leaves is replaced at once, and goes when what it holds is on the backing', (t) => {
  const c = served(), s = c.host('a').state
  leaving(c, 'b')
  t.match(c.claim, { epoch: 2, mode: 'write-back', quarantine: false, inherited: [{ epoch: 1, kept: 2 }] })
  t.same(c.claim!.inherited[0]!.holders.map((m) => m.host).sort(), ['a', 'b'], 'what it has it goes on holding')
  t.ok(c.claim!.set.some((m) => m.host === 'c'), 'new writes have another copy')
  t.equal(acksFrozen(s), false)
  t.equal(s.late.size, 0, 'it is no fault')
  t.equal(leaverHolds(s), true)
  c.destage()
  c.pass(100)
  t.equal(setOf(c), 'ac')
  t.equal(leaverHolds(s), false)
  const { epoch } = c.claim!
  c.pass(5000)
  t.equal(c.claim!.epoch, epoch, 'and then nothing changes any more')
  t.end()
})

t.test('an inherited log does not make the change happen again and again', (t) => {
  const c = served()
  c.do('a', { type: 'progress', drained: false, inheritedDone: false })
  leaving(c, 'b')
  const { epoch } = c.claim!
  for (let i = 0; i < 10; i++) { c.write(1); c.pass(1000) }
  t.equal(c.claim!.epoch, epoch)
  t.end()
})

t.test('without another host it stays a member until all is drained; acks wait only for the last of it', (t) => {
  const c = served(['a', 'b']), s = c.host('a').state
  leaving(c, 'b')
  c.pass(1000)
  t.equal(c.claim!.epoch, 1)
  t.same([mustLetGo(s), acksFrozen(s), degradedReason(s)], [true, false, null], 'the guest goes on with its copy')
  c.do('a', { type: 'letGo' })
  t.same([acksFrozen(s), degradedReason(s)], [true, 'b in maintenance, and no other host for a copy'])
  c.destage()
  c.pass(100)
  t.match(c.claim, { epoch: 2, mode: 'write-through', inherited: [] })
  t.same([setOf(c), acksFrozen(s), degradedReason(s)], ['a', false, '0 of 1 copies: b in maintenance'])
  leaving(c)
  c.pass(100)
  t.match(c.claim, { mode: 'write-back' }, 'back by itself')
  t.equal(setOf(c), 'ab')
  t.end()
})

t.test('a host that stays after all ends the wait', (t) => {
  const c = served(['a', 'b']), s = c.host('a').state
  leaving(c, 'b')
  c.do('a', { type: 'letGo' })
  t.equal(acksFrozen(s), true)
  leaving(c)
  t.same([acksFrozen(s), c.claim!.epoch], [false, 1])
  c.do('a', { type: 'letGo' })
  t.equal(acksFrozen(s), false, 'nor does it begin without a cause')
  t.end()
})

t.test('a first start does not choose a host in maintenance', (t) => {
  const c = new Cluster()
  leaving(c, 'b')
  c.do('a', { type: 'want' })
  t.equal(setOf(c), 'ac')
  t.end()
})

t.test('fewer copies for a time: no write-through without a copy, a copy as soon as there is a host, the policy at its end', (t) => {
  const c = served(['a', 'b']), s = c.host('a').state
  c.do('a', { type: 'exempt', exemption: { leastCopies: 0, untilMs: 10_000, overMs: 20_000 } })
  c.pass(100)
  t.same([setOf(c), exemptReason(s), needsExemption(s)], ['ab', null, false], 'a copy that there is stays')
  c.kill('b')
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.match(c.claim, { epoch: 2, mode: 'write-back' })
  t.same([setOf(c), acksFrozen(s), degradedReason(s)], ['a', false, null])
  t.same([exemptReason(s), needsExemption(s)], ['0 of 1 copies: b not reachable', true], 'and it is said')
  c.host('b').alive = true
  c.relink()
  c.pass(100)
  t.same([setOf(c), needsExemption(s)], ['ab', false], 'back by itself')
  c.kill('b')
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.same([setOf(c), acksFrozen(s)], ['a', false])
  c.pass(20_000)
  t.same([s.exemption, acksFrozen(s), degradedReason(s)], [null, true, '0 of 1 copies: b not reachable'], 'at the latest')
  c.destage()
  c.pass(100)
  t.match(c.claim, { mode: 'write-through' })
  t.end()
})

t.test('a member that leaves while fewer copies will do goes without write-through, when what it holds is destaged', (t) => {
  const c = served(['a', 'b']), s = c.host('a').state
  c.do('a', { type: 'exempt', exemption: { leastCopies: 0, untilMs: 10_000, overMs: 20_000 } })
  leaving(c, 'b')
  t.match(c.claim, { epoch: 2, mode: 'write-back', inherited: [{ kept: 2 }] })
  t.equal(mustLetGo(s), false)
  c.destage()
  c.pass(100)
  t.same([setOf(c), acksFrozen(s), leaverHolds(s)], ['a', false, false])
  const { epoch } = c.claim!
  c.pass(3000)
  t.equal(c.claim!.epoch, epoch)
  t.end()
})
