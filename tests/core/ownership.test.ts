import t from 'tap'
import { acksFrozen, degradedReason, slowMembers } from '../../lib/core/copies.js'
import { newOwnership } from '../../lib/core/ownership-state.js'
import { step } from '../../lib/core/ownership.js'
import { epoch, won } from '../../lib/core/units.js'
import { Cluster, guest, policy } from './cluster-model.js'

const setOf = (c: Cluster): string => c.claim!.set.map((m) => m.host).sort().join('')

t.test('first start: a claim from nothing, with the copies the policy asks for', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  t.equal(c.host('a').state.phase, 'serving')
  t.match(c.claim, { epoch: 1, mode: 'write-back', start: 0, inherited: [], quarantine: false })
  t.equal(setOf(c), 'ab')
})

t.test('first start without enough hosts waits, then is write-through and says why', async (t) => {
  const c = new Cluster()
  c.kill('b'); c.kill('c')
  c.do('a', { type: 'want' })
  t.equal(c.claim, null, 'waits for its replicas first')
  c.pass(600)
  t.equal(c.claim?.mode, 'write-through')
  t.match(degradedReason(c.host('a').state), /0 of 1 copies/)
  c.hosts.get('b')!.alive = true
  c.relink()
  c.pass(100)
  t.equal(c.claim?.mode, 'write-back', 'back by itself when a host returns')
})

t.test('planned hand-over: the source is sealed, stays a member, is named as holder; no quarantine when quiet (R8e)', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(5)
  c.host('a').quiet = true
  c.do('b', { type: 'want' })
  t.match(c.claim, { epoch: 2, start: 5, quarantine: false, owner: { host: 'b' } })
  t.match(c.claim!.inherited, [{ epoch: 1, start: 0, kept: 5 }])
  t.ok(c.claim!.set.some((m) => m.host === 'a'), 'a can take it back alone')
  t.equal(c.host('a').state.phase, 'sealed')
  c.destage()
  c.pass(100)
  t.equal(setOf(c), 'ab', 'one copy is what the policy asks for')
})

t.test('R8e: a source that is not quiet leaves quarantine, inherited by later owners (R8b)', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(1)
  c.do('b', { type: 'want' })
  t.equal(c.claim!.quarantine, true)
  c.host('b').quiet = true
  c.do('c', { type: 'want' })
  t.match(c.claim, { owner: { host: 'c' }, quarantine: true }, 'a clean second hand-over does not end it')
  c.do('c', { type: 'quarantineOver' })
  t.match(c.claim, { owner: { host: 'c' }, quarantine: false }, 'only the running owner, later, ends it (R8c)')
})

t.test('a running guest is not handed over', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.host('a').running = true
  c.do('b', { type: 'want' })
  c.pass(2000)
  t.equal(c.claim!.owner.host, 'a')
  t.match(c.host('b').state.reason, /held by a: running/)
  c.host('a').running = false
  c.pass(600)
  t.equal(c.claim!.owner.host, 'b')
})

t.test('R6: a silent owner is taken over only after its heartbeat stood still; the copy is served', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(3)
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(900)
  t.equal(c.claim!.epoch, 1)
  c.pass(400)
  t.match(c.claim, { epoch: 2, owner: { host: 'b' }, quarantine: true, start: 3 })
  t.same(c.claim!.inherited[0]!.holders.map((m) => m.host), ['b'], 'only the sealed are holders (R4b)')
})

t.test('R6: an owner that has just taken over is not silent for as long as the one before it was', (t) => {
  const c = new Cluster(), self = c.host('b').member, s = newOwnership(self, policy({ replicas: ['a', 'c'] }), '11111111-1111-4111-8111-111111111111', guest)
  c.do('a', { type: 'want' })
  const first = c.claim!, second = { ...first, epoch: (first.epoch + 1) as never, owner: c.host('c').member, nonce: 'e'.repeat(32) }
  // The new owner has not renewed yet: the heartbeat is the dead one's.
  const beat = { epoch: first.epoch, counter: 7 }
  const at = (nowMs: number) => ({ nowMs, nonce: '0'.repeat(32) })
  const look = (nowMs: number, claim: typeof first): string[] => [...step(s, { type: 'tick' }, at(nowMs)), ...step(s, { type: 'claimRead', claim, beat }, at(nowMs))].map((effect) => effect.type)
  step(s, { type: 'want' }, at(0))
  look(0, first)
  look(900, first)
  look(1100, second)
  t.match(s.reason, /^owned by c, which does not answer; .* 1000 ms \(0 so far\)$/)
  look(1900, second)
  t.equal(s.phase === 'claiming' && s.attempt!.step, 'waiting')
  t.ok(look(2200, second).includes('sealSelf'), 'silent for long enough itself')
  t.end()
})

t.test('R6: an owner that goes on renewing is never taken over', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.cut.add('b'); c.relink()
  c.do('b', { type: 'want' })
  c.pass(5000)
  t.equal(c.claim!.owner.host, 'a')
})

t.test('R5b: without any member of the set nobody serves', async (t) => {
  const c = new Cluster({ replicas: ['b'] })
  c.do('a', { type: 'want' })
  t.equal(setOf(c), 'ab')
  c.write(2)
  c.kill('a'); c.kill('b')
  c.do('c', { type: 'want' })
  c.pass(5000)
  t.equal(c.claim!.epoch, 1)
  t.match(c.host('c').state.reason, /no member of the set \{a, b\} can be reached/)
})

t.test('R5: a reformatted member is not a member', async (t) => {
  const c = new Cluster({ replicas: ['b'] })
  c.do('a', { type: 'want' })
  c.write(2)
  c.kill('a')
  c.host('b').member = { host: 'b', incarnation: 'f'.repeat(32) }
  c.relink()
  c.do('c', { type: 'want' })
  c.pass(5000)
  t.equal(c.claim!.epoch, 1, 'its empty log vouches for nothing')
})

t.test('R2: a late member is left out by a claim change, and a stand-in joins', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(4)
  c.kill('b')
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.match(c.claim, { epoch: 2, start: 4, quarantine: false })
  t.equal(setOf(c), 'ac')
  t.ok(c.host('a').effects.some((e) => e.type === 'freeze'), 'nothing is appended during the change')
})

t.test('too few copies: acks freeze, everything is destaged, then write-through (R13); back when a host returns', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(4)
  c.kill('b'); c.kill('c')
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.match(c.claim, { epoch: 2, mode: 'write-back' })
  t.equal(acksFrozen(c.host('a').state), true)
  c.destage()
  c.pass(50)
  t.match(c.claim, { epoch: 3, mode: 'write-through', inherited: [] })
  t.equal(acksFrozen(c.host('a').state), false)
  c.host('c').alive = true
  c.relink()
  c.pass(50)
  t.match(c.claim, { mode: 'write-back' })
  t.equal(setOf(c), 'ac')
})

t.test('R5b: with too few copies those that there are stay in the set until everything is destaged: the owner may die, too', async (t) => {
  const c = new Cluster({ copies: 2 })
  c.do('a', { type: 'want' })
  t.equal(setOf(c), 'abc')
  c.write(5)
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(2000)
  t.match(c.claim, { owner: { host: 'b' }, mode: 'write-back', inherited: [{ epoch: 1, kept: 5 }] })
  t.equal(setOf(c), 'bc')
  t.equal(acksFrozen(c.host('b').state), true, 'one copy of two: nothing new is acknowledged')
  c.kill('b')
  c.do('c', { type: 'want' })
  c.pass(2000)
  t.match(c.claim, { owner: { host: 'c' }, inherited: [{ epoch: 1, kept: 5 }] }, 'the last one has it all')
})

t.test('a late member that stays connected is asked again after a while', async (t) => {
  const c = new Cluster({}, ['a', 'b'])
  c.do('a', { type: 'want' })
  c.do('a', { type: 'late', host: 'b', reason: 'its region is full' })
  c.destage()
  c.pass(1000)
  t.equal(c.claim?.mode, 'write-through')
  c.pass(20_000)
  t.equal(c.claim?.mode, 'write-through', 'not too soon: every change interrupts the guest')
  c.pass(15_000)
  t.equal(c.claim?.mode, 'write-back')
})

t.test('R9: a sealed source resumes only by a claim change of its own', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(2)
  c.do('a', { type: 'selfSealed', epoch: c.claim!.epoch, reason: 'for b' })
  t.equal(c.host('a').state.phase, 'sealed')
  t.ok(c.host('a').effects.some((e) => e.type === 'lost'))
  c.do('a', { type: 'want' })
  c.pass(1000)
  t.match(c.claim, { epoch: 2, owner: { host: 'a' }, start: 2 })
})

t.test('R8d: a restart on the same host is unclean', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(2)
  const claim = c.claim!
  const again = new Cluster()
  again.claim = claim
  again.host('a').logs.set(1, 2)
  again.host('b').logs.set(1, 2)
  again.do('a', { type: 'want' })
  t.match(again.claim, { epoch: 2, quarantine: true, inherited: [{ kept: 2 }] })
})

t.test('a clean stop releases: the next owner waits for nobody and inherits nothing', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(2)
  c.destage()
  c.do('a', { type: 'release' })
  t.match(c.claim, { released: true, inherited: [] })
  c.kill('a')
  c.do('b', { type: 'want' })
  t.match(c.claim, { owner: { host: 'b' }, quarantine: false, start: 2 })
  t.equal(c.claim!.released, undefined)
})

t.test('an unknown outcome of a swap is read back before anything is served', async (t) => {
  const c = new Cluster()
  c.swapAnswer = 'unknown'
  c.do('a', { type: 'want' })
  t.equal(c.host('a').state.phase, 'serving', 'its own nonce was found')
  t.equal(c.claim!.epoch, 1)
})

t.test('contenders: one wins, the loser forgets its attempt and follows', async (t) => {
  const c = new Cluster({ copies: 2 })
  c.do('a', { type: 'want' })
  c.write(3)
  c.kill('a')
  c.send('b', { type: 'want' })
  c.send('c', { type: 'want' })
  c.settle()
  c.host('b').running = true
  c.host('c').running = true
  c.pass(1500)
  t.equal(c.history.length >= 2, true)
  const owners = ['b', 'c'].filter((h) => c.host(h).state.phase === 'serving')
  t.equal(owners.length, 1, 'exactly one serves')
  t.equal(c.claim!.owner.host, owners[0])
})

t.test('an owner that finds a newer claim stops', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  const stolen = { ...c.claim!, epoch: (c.claim!.epoch + 1) as never, owner: c.host('b').member, nonce: 'e'.repeat(32) }
  c.do('a', { type: 'claimRead', claim: stolen, beat: null })
  t.equal(c.host('a').state.phase, 'standby')
  t.ok(c.host('a').effects.some((e) => e.type === 'lost'))
})

t.test('R14: taking over a dead write-through owner waits T_q and flushes the backing before anything is served', async (t) => {
  const c = new Cluster({ mode: 'write-through' })
  c.do('a', { type: 'want' })
  t.equal(c.claim!.mode, 'write-through')
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(3000)
  t.equal(c.claim!.epoch, 1, 'dead for long enough, but its writes may still land')
  c.pass(1500)
  t.match(c.claim, { epoch: 2, owner: { host: 'b' }, quarantine: false })
  t.ok(c.host('b').effects.some((e) => e.type === 'flushBacking'))
})

t.test('a new owner changes nothing before its shell serves: its log is not there to be sealed', (t) => {
  const self = { host: 'a', incarnation: 'a'.repeat(32) }, other = { host: 'b', incarnation: 'b'.repeat(32) }, away = { host: 'c', incarnation: 'c'.repeat(32) }
  const s = newOwnership(self, policy({ replicas: ['b', 'c'] }), '11111111-1111-4111-8111-111111111111', guest), env = { nowMs: 0, nonce: '0'.repeat(32) }
  step(s, { type: 'members', reachable: [other, away] }, env)
  step(s, { type: 'want' }, env)
  step(s, { type: 'claimRead', claim: null, beat: null }, env)
  t.match(step(s, { type: 'swapped', outcome: 'won' }, env), [{ type: 'serve' }])
  t.same(step(s, { type: 'late', host: 'b', reason: 'gone' }, env), [], 'its member is late already')
  t.match(step(s, { type: 'served', epoch: s.claim!.epoch }, env), [{ type: 'freeze' }, { type: 'sealSelf' }], 'left out now')
  t.end()
})

t.test('R5: a member that was formatted anew is not in the set as both', (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(3)
  c.do('b', { type: 'want' })
  t.equal(setOf(c), 'ab', 'the source stays until everything inherited is destaged')
  c.host('a').member = { host: 'a', incarnation: '9'.repeat(32) }
  // It connects, and is forgiven, while it is left out for what it did not answer.
  c.send('b', { type: 'late', host: 'a', reason: 'no answer' })
  c.relink()
  t.equal(c.claim!.epoch, 3)
  t.same(c.claim!.set.map((m) => m.host).sort(), [...new Set(c.claim!.set.map((m) => m.host))].sort())
  t.ok(c.claim!.set.every((m) => m.host !== 'a' || m.incarnation.startsWith('9')), 'it is there as what it is now, or not')
  t.end()
})

t.test('R9: a claim that was won and is sealed before its writer hears of it is not served', (t) => {
  const self = { host: 'a', incarnation: 'a'.repeat(32) }, env = { nowMs: 0, nonce: '0'.repeat(32) }
  const s = newOwnership(self, policy({ mode: 'write-back', copies: 0 }), '11111111-1111-4111-8111-111111111111', guest)
  step(s, { type: 'want' }, env)
  step(s, { type: 'claimRead', claim: null, beat: null }, env)
  t.same(step(s, { type: 'selfSealed', epoch: epoch(1), reason: 'for b' }, env), [], 'the first claim took place, and its answer is on its way')
  t.same(step(s, { type: 'swapped', outcome: 'won' }, env), [])
  t.not(s.phase, 'serving', 'by a take')

  step(s, { type: 'tick' }, { ...env, nowMs: 1000 })
  step(s, { type: 'claimRead', claim: null, beat: null }, env)
  t.match(step(s, { type: 'swapped', outcome: 'won' }, env), [{ type: 'serve' }])
  step(s, { type: 'served', epoch: epoch(1) }, env)
  step(s, { type: 'resize', capacityBytes: guest.capacityBytes * 2 }, env)
  t.match(step(s, { type: 'sealed', epoch: epoch(1), report: { member: self, length: 1, base: won(0), quiet: true } }, env), [{ type: 'swap' }])
  t.same(step(s, { type: 'selfSealed', epoch: epoch(1), reason: 'for b' }, env), [], 'a seal of the epoch that ends decides nothing')
  t.match(step(s, { type: 'selfSealed', epoch: epoch(2), reason: 'for b' }, env), [{ type: 'lost' }])
  t.same(step(s, { type: 'swapped', outcome: 'won' }, env), [])
  t.equal(s.phase, 'sealed', 'by the running owner')
  t.end()
})

t.test('an owner that lost its power waits for a member that may have more, and takes that over', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(5)
  c.cut.add('b')
  c.losePower('a', [[1, 3]])
  c.do('a', { type: 'want' })
  c.pass(1500)
  t.match(c.host('a').state, { phase: 'claiming', obstacle: 'returning', reason: /^a lost power, and b may have writes that went with it/ })
  c.cut.clear()
  c.relink()
  c.pass(600)
  t.match(c.claim, { epoch: 2, owner: { host: 'a', powerLosses: 1 }, inherited: [{ kept: 5, holders: [{ host: 'b' }] }] })
})

t.test('and does not wait for ever', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(5)
  c.kill('b')
  c.losePower('a', [[1, 3]])
  c.do('a', { type: 'want' })
  c.pass(2600)
  t.match(c.claim, { epoch: 2, owner: { host: 'a' }, inherited: [{ kept: 3, holders: [{ host: 'a' }] }] })
})

t.test('a member that lost its power and came back with everything is written into the claim anew', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(5)
  c.losePower('b', [[1, 5]])
  t.match(c.claim, { epoch: 2, set: [{ host: 'a' }, { host: 'b', powerLosses: 1 }], inherited: [{ kept: 5, holders: [{ host: 'a' }, { host: 'b' }] }] })
  c.pass(1000)
  t.equal(c.claim!.epoch, 2, 'once')
})

t.test('a slow member gives way to another host, and does not come back by itself', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(5)
  c.do('a', { type: 'slow', host: 'b' })
  t.match(c.claim, { epoch: 2, set: [{ host: 'a' }, { host: 'c' }], inherited: [{ kept: 5, holders: [{ host: 'a' }, { host: 'b' }] }] }, 'it was sealed, and holds what it has')
  c.pass(70_000)
  t.equal(c.claim!.epoch, 2)
  c.kill('c')
  c.do('a', { type: 'late', host: 'c', reason: 'gone' })
  t.same(c.claim!.set.map((m) => m.host), ['a', 'b'], 'it is as good as any after a minute')
  t.equal(c.host('a').state.slow.get('b')!.times, 1)
  c.do('a', { type: 'slow', host: 'b' })
  c.pass(70_000)
  t.equal(c.host('a').state.slow.get('b')!.avoided, true, 'the second time is longer')
})

t.test('a slow member stays where nobody else could have the copy, or where it was asked for', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.kill('c')
  c.do('a', { type: 'slow', host: 'b' })
  t.match([c.claim!.epoch, slowMembers(c.host('a').state), degradedReason(c.host('a').state)], [1, ['b'], null])
  const both = new Cluster({ copies: 2 })
  both.do('a', { type: 'want' })
  both.do('a', { type: 'slow', host: 'b' })
  t.match(both.claim, { epoch: 1, set: { length: 3 } })
})

t.test('a running owner that stood still in a claim change waits for its own region, and not for the others', async (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(2)
  const { state } = c.host('a'), env = (nowMs: number): { nowMs: number; nonce: string } => ({ nowMs, nonce: 'f'.repeat(32) })
  t.match(step(state, { type: 'late', host: 'b', reason: 'no answer' }, env(100)), [{ type: 'freeze' }, { type: 'sealSelf' }])
  t.same(step(state, { type: 'tick' }, env(5000)), [], 'the deadline has passed')
  t.match(state, { phase: 'serving', attempt: { step: 'sealing' } })
  const report = { member: state.self, length: 2, base: won(0), quiet: true }
  t.match(step(state, { type: 'sealed', epoch: epoch(1), report }, env(5001)), [{ type: 'swap', next: { epoch: 2, set: [{ host: 'a' }, { host: 'c' }] } }])
})
