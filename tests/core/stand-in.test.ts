/** A member that joined has copied an inherited log: when the owner changes the claim for it, and what the claim says then. */
import t from 'tap'
import { epoch } from '../../lib/core/units.js'
import { Cluster } from './cluster-model.js'

/** b died with 3 records of epoch 1 that are not destaged; c took its place. */
function replaced(): Cluster {
  const c = new Cluster()
  c.do('a', { type: 'want' })
  c.write(3)
  c.kill('b')
  c.do('a', { type: 'late', host: 'b', reason: 'no answer' })
  c.write(1)
  return c
}
const holders = (c: Cluster): string => c.claim!.inherited.map((log) => log.holders.map((m) => m.host).join('')).join()
const copied = (c: Cluster, host = 'c', of = 1): void => c.do('a', { type: 'copied', host, epoch: epoch(of) })

t.test('it is named at once where the log has too few holders, and the claim rests then', (t) => {
  const c = replaced()
  t.same([c.claim!.epoch, holders(c)], [2, 'a'])
  c.host('c').logs.set(1, 3)
  copied(c)
  t.same([c.claim!.epoch, holders(c)], [3, 'ac,ac'])
  copied(c)
  copied(c, 'c', 2)
  copied(c, 'c', 7)
  c.pass(5000)
  t.equal(c.claim!.epoch, 3)
  t.end()
})

t.test('what it said is not believed when it does not say so under the seal', (t) => {
  const c = replaced()
  copied(c)
  t.same([c.claim!.epoch, holders(c)], [3, 'a,ac'], 'it lost it on the way')
  c.host('c').logs.set(1, 2)
  copied(c)
  t.equal(holders(c).split(',')[0], 'a', 'not all of it')
  c.host('c').logs.set(1, 3)
  c.host('c').tells = false
  copied(c)
  t.equal(holders(c).split(',')[0], 'a', 'a release that does not say it')
  t.end()
})

t.test('with enough holders in reach no change is made for it, and the next one names it', (t) => {
  const c = new Cluster({ copies: 1 })
  c.do('a', { type: 'want' })
  c.write(3)
  c.do('a', { type: 'members', reachable: c.host('a').state.reachable, leaving: ['b'] })
  t.same([c.claim!.epoch, holders(c)], [2, 'ab'])
  c.host('c').logs.set(1, 3)
  copied(c)
  t.equal(c.claim!.epoch, 2)
  c.kill('b')
  copied(c)
  t.equal(c.claim!.epoch, 3, 'one that is gone is none in reach')
  t.equal(holders(c).split(',')[0], 'abc')
  t.end()
})

t.test('only members count, and a takeover names whoever has it as well', (t) => {
  const c = replaced()
  copied(c, 'b')
  copied(c, 'x')
  t.equal(c.claim!.epoch, 2)
  c.host('c').logs.set(1, 3)
  c.kill('a')
  c.do('c', { type: 'want' })
  c.pass(3000)
  t.match(c.claim, { owner: { host: 'c' } })
  t.equal(holders(c), 'ac,c', 'a died before it named c')
  t.end()
})
