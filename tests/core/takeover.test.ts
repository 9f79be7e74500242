/** What shortens the wait for a silent owner, what does not, and the loss that an operator accepts. */
import t from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { WAITED_OUT_GAP } from '../../lib/core/transition.js'
import { epoch, type Epoch } from '../../lib/core/units.js'
import type { OwnershipPolicy } from '../../lib/core/ownership-state.js'
import { Cluster } from './cluster-model.js'

const at = (c: Cluster): Epoch => c.claim!.epoch
const order = (c: Cluster, over: { fenced?: boolean; acceptLoss?: string | null; epoch?: Epoch } = {}) =>
  ({ type: 'order', order: { epoch: at(c), fenced: false, acceptLoss: null, ...over } }) as const

/** Host a owns it with a copy on b, both are gone, and c has nothing. */
function lostByAll(over: Partial<OwnershipPolicy> = {}): Cluster {
  const c = new Cluster({ replicas: ['b'], ...over })
  c.do('a', { type: 'want' })
  c.write(2)
  c.kill('a'); c.kill('b')
  return c
}

t.test('R6: an owner whose host is off is not waited for until T_dead; its last writes are', (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(3)
  c.kill('a')
  c.do('b', order(c, { fenced: true }))
  c.pass(150)
  t.equal(at(c), 1, 'its heartbeat is looked at first')
  c.pass(150)
  t.match(c.claim, { epoch: 2, owner: { host: 'b' }, start: 3, quarantine: true, inherited: [{ kept: 3, holders: [{ host: 'b' }] }] })
  t.end()
})

t.test('an owner that is said to be off and renews is not taken over', (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.cut.add('b'); c.relink()
  c.do('b', order(c, { fenced: true }))
  c.pass(5000)
  t.match(c.claim, { epoch: 1, owner: { host: 'a' } })
  t.end()
})

t.test('what was said of one epoch is not said of the next', (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.equal(at(c), 2)
  c.kill('a')
  c.do('c', order(c, { fenced: true, epoch: epoch(1) }))
  c.do('c', { type: 'fenced', fenced: { epoch: epoch(1), storage: true } })
  c.pass(900)
  t.equal(at(c), 2)
  c.pass(400)
  t.match(c.claim, { epoch: 3, owner: { host: 'c' }, quarantine: true })
  t.end()
})

t.test('a running guest is not taken away, whatever is said', (t) => {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.host('a').running = true
  c.do('b', order(c, { fenced: true, acceptLoss: 'why' }))
  c.pass(3000)
  t.match(c.claim, { epoch: 1, owner: { host: 'a' } })
  t.equal(c.host('b').state.obstacle, 'held')
  c.do('b', { type: 'order', order: null })
  c.do('b', { type: 'unwant' })
  c.host('a').running = false
  c.pass(3000)
  t.equal(at(c), 1, 'and a command that has ended takes nothing later')
  t.end()
})

t.test('R14: that the host is off does not recall what the storage has; only the storage\'s own fence does', (t) => {
  for (const storage of [false, true]) {
    const c = new Cluster({ mode: 'write-through' })
    c.do('a', { type: 'want' })
    c.kill('a')
    c.do('b', { type: 'want' })
    c.do('b', { type: 'fenced', fenced: { epoch: at(c), storage } })
    c.pass(2500)
    t.equal(at(c), storage ? 2 : 1, `storage ${storage}`)
    c.pass(1500)
    t.match(c.claim, { epoch: 2, owner: { host: 'b' }, quarantine: false })
    t.ok(c.host('b').effects.some((e) => e.type === 'flushBacking'))
  }
  t.end()
})

t.test('R8: a fence of the storage ends the wait for late writes of this owner, not of those before it (R8b)', (t) => {
  const clean = new Cluster()
  clean.do('a', { type: 'want' })
  clean.write(1)
  clean.kill('a')
  clean.do('b', { type: 'want' })
  clean.do('b', { type: 'fenced', fenced: { epoch: at(clean), storage: true } })
  clean.pass(300)
  t.match(clean.claim, { epoch: 2, owner: { host: 'b' }, quarantine: false, inherited: [{ kept: 1 }] })

  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(1)
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(1500)
  t.match(c.claim, { owner: { host: 'b' }, quarantine: true })
  c.kill('b')
  c.do('c', { type: 'want' })
  c.do('c', { type: 'fenced', fenced: { epoch: at(c), storage: true } })
  c.pass(300)
  t.match(c.claim, { owner: { host: 'c' }, quarantine: true }, 'a\'s writes may still land')
  t.end()
})

t.test('the fence is run once for an owner that is silent, and for nobody else', (t) => {
  const runs = (c: Cluster, host: string): unknown[] => c.host(host).effects.filter((e) => e.type === 'fence')
  const dead = new Cluster({ fences: true })
  dead.do('a', { type: 'want' })
  dead.kill('a')
  dead.do('b', { type: 'want' })
  t.same(runs(dead, 'b'), [], 'not before it has missed renewals')
  dead.pass(900)
  t.match(runs(dead, 'b'), [{ type: 'fence', owner: { host: 'a' }, epoch: 1 }])
  t.equal(runs(dead, 'b').length, 1)
  dead.pass(400)
  t.equal(at(dead), 2, 'one that fails is waited out as without it')

  const alive = new Cluster({ fences: true })
  alive.do('a', { type: 'want' })
  alive.cut.add('b'); alive.relink()
  alive.do('b', { type: 'want' })
  alive.pass(5000)
  t.same(runs(alive, 'b'), [], 'not against a host that renews')

  const planned = new Cluster({ fences: true })
  planned.do('a', { type: 'want' })
  planned.do('b', { type: 'want' })
  planned.do('a', { type: 'want' })
  planned.pass(2000)
  t.same([...runs(planned, 'a'), ...runs(planned, 'b')], [], 'not for a hand-over')

  const self = new Cluster({ fences: true })
  self.do('a', { type: 'want' })
  const again = new Cluster({ fences: true })
  again.claim = { ...self.claim!, owner: { host: 'a', incarnation: '9'.repeat(32) } }
  again.do('a', { type: 'want' })
  again.pass(3000)
  t.same(runs(again, 'a'), [], 'and never against itself, whatever its region was')

  const none = new Cluster()
  none.do('a', { type: 'want' })
  none.kill('a')
  none.do('b', { type: 'want' })
  none.pass(900)
  t.same(runs(none, 'b'), [], 'and not where there is none')
  t.end()
})

t.test('R5b: a loss that was accepted: nothing inherited, what comes back is hidden, the claim says it for ever', (t) => {
  const c = lostByAll()
  c.do('c', order(c, { acceptLoss: 'burnt down' }))
  c.pass(900)
  t.equal(at(c), 1, 'not before the owner counts as dead')
  c.pass(500)
  const claim = c.claim as Claim
  t.match(claim, { epoch: 2, owner: { host: 'c' }, mode: 'write-back', inherited: [], quarantine: true, acceptedLoss: { atEpoch: 1, reason: 'burnt down' } })
  t.ok(claim.base === claim.start && claim.start === WAITED_OUT_GAP, 'base hides every log of before (R12), and no number is used twice')
  c.host('a').alive = true
  c.host('a').state.phase = 'standby'
  c.relink()
  c.host('c').quiet = true
  c.do('a', { type: 'want' })
  t.match(c.claim, { epoch: 3, owner: { host: 'a' }, inherited: [], acceptedLoss: { atEpoch: 1 } }, 'its own old log is nothing to the old owner')
  t.end()
})

t.test('R5b: a second loss is recorded beside the first', (t) => {
  const c = lostByAll()
  c.do('c', order(c, { acceptLoss: 'first', fenced: true }))
  c.pass(1500)
  c.do('c', { type: 'order', order: null })
  c.write(1)
  c.kill('c')
  c.host('a').alive = true
  c.host('a').state.phase = 'standby'
  c.relink()
  c.do('a', order(c, { acceptLoss: 'second', fenced: true }))
  c.pass(1500)
  t.match(c.claim, { owner: { host: 'a' }, acceptedLoss: { atEpoch: 2, reason: 'second; before, at epoch 1: first' } })
  t.end()
})

t.test('R5b: nothing is lost where a member can be sealed, or another epoch was meant, or nothing was said', (t) => {
  const sealable = lostByAll()
  sealable.host('b').alive = true
  sealable.relink()
  sealable.do('c', order(sealable, { acceptLoss: 'needless' }))
  sealable.pass(1500)
  t.match(sealable.claim, { epoch: 2, owner: { host: 'c' }, inherited: [{ kept: 2, holders: [{ host: 'b' }] }] })
  t.equal(sealable.claim!.acceptedLoss, undefined)

  for (const said of [{ acceptLoss: 'of another', epoch: epoch(7) }, { acceptLoss: null }]) {
    const c = lostByAll()
    c.do('c', order(c, said))
    c.pass(3000)
    t.equal(at(c), 1)
    t.equal(c.host('c').state.obstacle, 'unsealed')
  }
  const over = lostByAll()
  over.do('c', order(over, { acceptLoss: 'called off' }))
  over.do('c', { type: 'order', order: null })
  over.pass(3000)
  t.equal(at(over), 1, 'a command that has ended accepts nothing')
  t.end()
})

t.test('R14: in write-through there is nothing to accept', (t) => {
  const c = new Cluster({ mode: 'write-through' })
  c.do('a', { type: 'want' })
  c.kill('a')
  c.do('c', order(c, { acceptLoss: 'needless' }))
  c.pass(3000)
  t.equal(at(c), 1, 'its last writes are waited for')
  c.pass(1500)
  t.equal(c.claim!.acceptedLoss, undefined)
  t.match(c.claim, { epoch: 2, owner: { host: 'c' }, quarantine: false })
  t.end()
})
