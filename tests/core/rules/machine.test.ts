/** The rules of ownership that say when: each named by its number, on the machine among others of its kind. */
import t from 'tap'
import { Cluster } from '../cluster-model.js'

const started = (over: ConstructorParameters<typeof Cluster>[0] = {}): Cluster => {
  const c = new Cluster(over)
  c.do('a', { type: 'want' })
  return c
}

t.test('R2: a member is left out by a claim change, which seals those who stay first', async (t) => {
  const c = started()
  c.write(2)
  const { effects } = c.host('a'), before = effects.length
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  t.same(effects.slice(before).map((e) => e.type), ['freeze', 'sealSelf', 'swap', 'serve'])
  t.equal(c.host('a').sealed, 1)
})

t.test('R6: a silent owner is taken over when its heartbeat has stood still for T_dead, by the own clock', async (t) => {
  const c = started()
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(950)
  t.equal(c.claim!.owner.host, 'a')
  c.pass(250)
  t.equal(c.claim!.owner.host, 'b')
})

t.test('R8d: who was the owner before a restart is no clean predecessor', async (t) => {
  const c = started()
  c.write(1)
  const again = new Cluster()
  again.claim = c.claim
  for (const host of ['a', 'b']) again.host(host).logs.set(1, 1)
  again.do('a', { type: 'want' })
  t.match(again.claim, { owner: { host: 'a' }, epoch: 2, quarantine: true })
})

t.test('R9: a sealed source has to win a claim change before it serves again', async (t) => {
  const c = started(), { effects } = c.host('a')
  c.do('a', { type: 'selfSealed', epoch: c.claim!.epoch, reason: 'for b' })
  t.equal(effects.at(-1)!.type, 'lost')
  const before = effects.length
  c.do('a', { type: 'want' })
  const types = effects.slice(before).map((e) => e.type)
  t.ok(types.indexOf('swap') >= 0 && types.indexOf('swap') < types.indexOf('serve'), types.join())
  t.equal(c.claim!.epoch, 2)
})

t.test('R14: a dead owner in write-through is taken over when T_q has passed too, and the backing was flushed', async (t) => {
  const c = started({ mode: 'write-through' })
  c.kill('a')
  c.do('b', { type: 'want' })
  c.pass(3900)
  t.equal(c.claim!.owner.host, 'a')
  t.notOk(c.host('b').effects.some((e) => e.type === 'flushBacking'))
  c.pass(500)
  t.equal(c.claim!.owner.host, 'b')
  t.ok(c.host('b').effects.some((e) => e.type === 'flushBacking'))
})
