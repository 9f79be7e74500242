/** Where copies go: properties over many volumes, and what a running owner makes of it. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Claim, Member } from '../../lib/core/claim.js'
import { crowding, placeCopies, sharesDomain, type Domains } from '../../lib/core/placement.js'
import { firstClaim } from '../../lib/core/transition.js'
import { epoch, won } from '../../lib/core/units.js'
import { Cluster, guest } from './cluster-model.js'

const member = (host: string): Member => ({ host, incarnation: host.padEnd(32, '0').slice(0, 32) })
const hosts = (n: number): Member[] => Array.from({ length: n }, (_, i) => member(`hv${String(i + 1).padStart(2, '0')}`))
const NONE: Domains = new Map()
const fresh = (volume: string, self: Member, candidates: readonly Member[], copies = 1, domains = NONE): string[] =>
  placeCopies({ volume, self, candidates, claim: null, copies, domains }).map((m) => m.host)
const claimOf = (owner: Member, set: readonly Member[], over: Partial<Claim> = {}): Claim => ({
  ...firstClaim('v', guest, { self: owner, set, mode: 'write-back', nonce: 'd'.repeat(32), clearQuarantine: false, released: false, capacityBytes: null, damagedHere: new Set() }), ...over,
})
/** Fixed: the bounds below are of these volumes, not of luck. */
const volumes = Array.from({ length: 2000 }, (_, i) => `0f6d2b1e-0000-4000-8000-${String(i).padStart(12, '0')}`)

t.test('volumes spread: no host has half more or half less than its share, whoever the owner is', (t) => {
  for (const n of [3, 5, 8, 16]) {
    const all = hosts(n), held = new Map(all.map((m) => [m.host, 0]))
    for (const [i, volume] of volumes.entries()) for (const host of fresh(volume, all[i % n]!, all)) held.set(host, held.get(host)! + 1)
    const share = volumes.length / n
    for (const [host, count] of held) t.ok(count > share * 0.5 && count < share * 1.5, `${n} hosts: ${host} has ${count} of ${share}`)
  }
  t.end()
})

t.test('a host that goes takes only its own copies with it, and one that comes takes copies only to itself', (t) => {
  const all = hosts(6), self = all[0]!, less = all.slice(0, 5), gone = all[5]!.host
  let moved = 0
  for (const volume of volumes) {
    const before = fresh(volume, self, all, 2), after = fresh(volume, self, less, 2)
    const lost = before.includes(gone)
    if (lost) moved++
    else t.same(after, before)
    for (const host of before.filter((each) => each !== gone)) if (!after.includes(host)) t.fail(`${volume}: ${host} moved without a cause`)
  }
  t.ok(moved > volumes.length * 0.3 && moved < volumes.length * 0.5, `two of five for each volume: ${moved} moved`)
  t.end()
})

t.test('another domain than the owner\'s, and than the other copy\'s, whenever there is one', (t) => {
  for (const [shape, copies] of [['aabb', 1], ['abbb', 2], ['aaab', 2], ['aabbcc', 2], ['abc', 2], ['aaaa', 2]] as const) {
    const all = hosts(shape.length), domains = new Map(all.map((m, i) => [m.host, shape[i]!]))
    for (const volume of volumes.slice(0, 200)) for (const self of all) {
      const chosen = fresh(volume, self, all, copies, domains), own = domains.get(self.host)
      const others = all.filter((m) => m !== self && domains.get(m.host) !== own)
      const elsewhere = chosen.filter((host) => !sharesDomain(domains, host, self.host)).length
      if (elsewhere < Math.min(copies, others.length)) t.fail(`${shape}: ${self.host} has only ${chosen.join()}`)
      const apart = new Set(chosen.map((host) => domains.get(host)).filter((domain) => domain !== own)).size
      if (apart < Math.min(copies, new Set(others.map((m) => domains.get(m.host))).size)) t.fail(`${shape}: ${self.host} has both copies together: ${chosen.join()}`)
      if (chosen.length !== Math.min(copies, all.length - 1)) t.fail(`${shape}: ${chosen.length} copies`)
    }
  }
  t.end()
})

t.test('where the volume has lived comes before domains: members, then who the claim names otherwise', (t) => {
  const [a, b, c, d] = hosts(4) as [Member, Member, Member, Member]
  const domains = new Map([[a.host, 'r1'], [b.host, 'r1'], [c.host, 'r2'], [d.host, 'r2']])
  for (let i = 0; i < 50; i++) {
    const place = (claim: Claim, candidates: readonly Member[], copies = 1): string[] => placeCopies({ volume: randomUUID(), self: a, candidates, claim, copies, domains }).map((m) => m.host)
    t.same(place(claimOf(b, [b, a]), [b, c, d]), [b.host], 'the VM came from b')
    t.same(place(claimOf(b, [b, c]), [b, c, d]), [c.host], 'of two that it lived on, the one elsewhere')
    t.same(place(claimOf(c, [c, d]), [b, c, d]), [c.host], 'of two elsewhere, its owner')
    const inherited = [{ epoch: epoch(1), start: won(0), kept: 1, holders: [b] }]
    t.same(place(claimOf(a, [a], { inherited }), [b, c, d]), [b.host], 'a holder of what is not destaged')
    t.same(place(claimOf(a, [a, d], { inherited }), [b, c, d]), [d.host], 'a member before a holder')
    t.same(place(claimOf(a, [a, b]), [{ ...b, incarnation: 'f'.repeat(32) }, c]), [b.host], 'formatted anew: a stranger to R5, and still where the VM lives')
    t.same(place(claimOf(a, [a, b]), [b, c, d], 2).length, 2)
    t.equal(place(claimOf(a, [a, b]), [b, c, d], 2)[0], b.host)
  }
  t.end()
})

t.test('too near: only when there is a host elsewhere, reachable or not', (t) => {
  const domains = new Map([['a', 'r1'], ['b', 'r1'], ['c', 'r2']])
  t.equal(crowding('a', ['a', 'b'], ['b', 'c'], ['b'], domains), 'the copy on b is in the owner\'s fault domain r1; elsewhere there is c (not reachable, r2)')
  t.match(crowding('a', ['a', 'b'], ['b', 'c'], ['b', 'c'], domains), 'elsewhere there is c (r2)')
  t.equal(crowding('a', ['a', 'c'], ['b', 'c'], [], domains), null)
  t.equal(crowding('a', ['a', 'b'], ['b'], [], domains), null, 'an operator chose so')
  t.equal(crowding('a', ['a'], ['b', 'c'], [], domains), null)
  t.equal(crowding('a', ['a', 'b'], ['b', 'c'], [], NONE), null)
  t.end()
})

// --- a running owner ---------------------------------------------------------------------------------------------

const setOf = (c: Cluster): string => c.claim!.set.map((m) => m.host).sort().join('')
const domains = new Map([['a', 'r1'], ['b', 'r1'], ['c', 'r2']])

t.test('a better host that comes back moves nothing; it replaces the next member that goes', (t) => {
  const c = new Cluster({ domains })
  c.do('a', { type: 'want' })
  t.equal(setOf(c), 'ac', 'the other rack')
  c.write(2)
  c.kill('c')
  c.do('a', { type: 'late', host: 'c', reason: 'no answer' })
  t.equal(setOf(c), 'ab', 'better the same rack than no copy')
  c.host('c').alive = true
  c.relink()
  const { epoch: before } = c.claim!
  c.pass(60_000)
  t.same([c.claim!.epoch, setOf(c)], [before, 'ab'])
  c.do('a', { type: 'members', reachable: c.host('a').state.reachable, leaving: ['b'] })
  t.ok(setOf(c).includes('c'), 'b leaves')
  t.end()
})

t.test('a first start waits for all hosts to choose from, but not for long', (t) => {
  const c = new Cluster({ domains })
  c.cut.add('c')
  c.relink()
  c.do('a', { type: 'want' })
  t.equal(c.claim, null)
  c.pass(500)
  c.cut.delete('c')
  c.relink()
  c.pass(100)
  t.equal(setOf(c), 'ac')

  const d = new Cluster({ domains })
  d.kill('c')
  d.do('a', { type: 'want' })
  d.pass(900)
  t.equal(d.claim, null)
  d.pass(200)
  t.equal(setOf(d), 'ab')
  t.end()
})

t.test('replicas in the configuration fix the order', (t) => {
  const c = new Cluster({ domains: null })
  c.do('a', { type: 'want' })
  t.equal(setOf(c), 'ab')
  t.end()
})
