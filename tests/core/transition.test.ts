import t from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { decideChange, firstClaim, giveUpDirty, refuseAppend, type ChangeWish, type SealReport } from '../../lib/core/transition.js'
import { epoch, won } from '../../lib/core/units.js'
import { guest } from './cluster-model.js'

const member = (host: string) => ({ host, incarnation: host.repeat(32).slice(0, 32) })
const [a, b, c] = [member('a'), member('b'), member('c')]
const wish = (over: Partial<ChangeWish> = {}): ChangeWish =>
  ({ self: b, set: [b, c], mode: 'write-back', nonce: 'd'.repeat(32), clearQuarantine: false, released: false, capacityBytes: null, damagedHere: new Set(), ...over })
const claim = (over: Partial<Claim> = {}): Claim =>
  ({ ...firstClaim('v', guest, wish({ self: a, set: [a, b, c] })), start: won(10), base: won(4), epoch: epoch(5), ...over })
const report = (m: typeof a, length: number, base = 0, quiet = false): SealReport => ({ member: m, length, base: won(base), quiet })

t.test('R4: the shortest sealed length is kept, and only the sealed are holders (R4b)', async (t) => {
  const d = decideChange(claim(), [report(b, 7), report(c, 5)], wish(), false)
  t.match(d, { ok: true, kept: 5, next: { epoch: 6, start: 15, inherited: [{ epoch: 5, start: 10, kept: 5, holders: [b, c] }] } })
})

t.test('the highest base counts, and logs that end at or below it are gone (R12)', async (t) => {
  const old = { epoch: epoch(3), start: won(2), kept: 6, holders: [a] }
  const d = decideChange(claim({ inherited: [old] }), [report(b, 3, 8), report(c, 3, 6)], wish(), false)
  t.match(d, { ok: true, next: { base: 8, inherited: [{ epoch: 5 }] } })
  t.equal(d.ok && d.next.inherited.length, 1)
})

t.test('a won is never used twice: records that are destaged and freed still count', async (t) => {
  const d = decideChange(claim({ inherited: [] }), [report(b, 0, 25), report(c, 15, 20)], wish(), false)
  t.match(d, { ok: true, kept: 15, next: { start: 25, base: 25, inherited: [] } }, 'the freed log of 15 records ends at its base')
})

t.test('a won is never used twice: a dead write-through owner may have used any number after its start', async (t) => {
  const d = decideChange(claim({ mode: 'write-through', set: [a] }), [], wish({ set: [b], mode: 'write-through' }), false, true)
  t.match(d, { ok: true, next: { start: 10 + 2 ** 36, inherited: [], quarantine: false } })
})

t.test('a member that has all that is kept of an older log is named as its holder, one that was not sealed or lacks some is not', async (t) => {
  const old = { epoch: epoch(3), start: won(2), kept: 6, holders: [a] }
  const holders = (...reports: SealReport[]) => { const d = decideChange(claim({ inherited: [old] }), reports, wish(), true); return d.ok ? d.next.inherited[0]!.holders : null }
  t.same(holders({ ...report(b, 7), older: [{ epoch: epoch(3), length: 6 }] }, report(c, 7)), [a, b])
  t.same(holders({ ...report(b, 7), older: [{ epoch: epoch(3), length: 5 }] }, { ...report(c, 7), older: [{ epoch: epoch(4), length: 9 }] }), [a])
  t.same(holders({ ...report(a, 7), older: [{ epoch: epoch(3), length: 8 }] }, { ...report(c, 7), older: [{ epoch: epoch(3), length: 8 }] }), [a, c], 'once')
  const damaged = decideChange(claim({ inherited: [old] }), [{ ...report(b, 7), older: [{ epoch: epoch(3), length: 6 }] }], wish({ damagedHere: new Set([epoch(3)]) }), true)
  t.match(damaged, { next: { inherited: [{ holders: [a] }, {}] } })
  t.equal(damaged.ok && damaged.next.inherited[0]!.holders.length, 1, 'not where it is damaged')
})

t.test('R13: write-through only when nothing is dirty and no quarantine', async (t) => {
  const through = wish({ set: [b], mode: 'write-through' })
  t.match(decideChange(claim(), [report(b, 1)], through, false), { ok: false })
  t.match(decideChange(claim(), [report(a, 1, 11, true)], through, false), { ok: true })
  t.match(decideChange(claim(), [report(b, 1, 11)], through, false), { ok: false }, 'unclean: quarantine')
  t.match(decideChange(claim({ quarantine: true }), [report(a, 1, 11, true)], through, false), { ok: false })
})

const sample = (crc: number) => [{ lba: 8, sectors: 8, crc }]

t.test('H64: samples count for exactly the base that they belong to', async (t) => {
  const known = claim({ samples: sample(4) })
  const samplesOf = (reports: SealReport[], over: Partial<ChangeWish> = {}, from = known): unknown => {
    const d = decideChange(from, reports, wish(over), false)
    return d.ok ? d.next.samples : d.reason
  }
  t.same(samplesOf([{ ...report(b, 7, 3), samples: sample(3) }]), sample(4), 'those of the claim, when nobody knows a higher base')
  t.same(samplesOf([{ ...report(b, 7, 12), samples: sample(12) }, { ...report(c, 7, 4), samples: sample(4) }]), sample(12), 'else those of the highest base')
  t.equal(samplesOf([report(b, 7, 12)]), undefined, 'which may have none')
  t.equal(samplesOf([report(b, 7, 4)]), undefined, 'a member with the base that vouches for none has the last word')
  t.equal(samplesOf([{ ...report(b, 7, 4), samples: sample(4) }, report(c, 7, 4)]), undefined)
  t.same(samplesOf([report(b, 7)], {}, claim()), undefined)
  t.equal(samplesOf([{ ...report(a, 7, 17, true), samples: sample(17) }], { set: [b], mode: 'write-through' }), undefined, 'write-through has none')
})

t.test('H63: a fingerprint is only beside a release', async (t) => {
  const left = claim({ released: true, fingerprint: { sizeBytes: 1, modifiedMs: null, blocks: '' }, inherited: [], base: won(10) })
  const d = decideChange(left, [], wish(), false)
  t.ok(d.ok && !('fingerprint' in d.next) && !('released' in d.next))
})

t.test('H64: what is given up is recorded for ever, and a late write is still waited for', async (t) => {
  const old = { epoch: epoch(4), start: won(2), kept: 8, holders: [a] }
  const refused = claim({ inherited: [old], quarantine: true, samples: sample(1) })
  const given = giveUpDirty(refused, 'e'.repeat(32), 'restored')
  t.match(given, { epoch: 6, inherited: [], base: 10, start: 10, quarantine: true, set: refused.set, nonce: 'e'.repeat(32), acceptedLoss: { atEpoch: 5, reason: 'restored' } })
  t.notOk('samples' in given)
  const next = decideChange(given, [report(a, 0, 4)], wish({ self: a, set: [a] }), false)
  t.match(next, { ok: true, kept: 0, next: { inherited: [], base: 10, start: 10, quarantine: true, acceptedLoss: { atEpoch: 5 } } }, 'and nothing of it comes back')
  t.match(giveUpDirty(given, 'f'.repeat(32), 'again'), { acceptedLoss: { atEpoch: 6, reason: 'again; before, at epoch 5: restored' } })
  t.equal(giveUpDirty(given, 'f'.repeat(32), 'x'.repeat(2000)).acceptedLoss?.reason.length, 1000)
})

t.test('R1, R5: a report of somebody who is not a member is a bug that stops', async (t) => {
  t.throws(() => decideChange(claim(), [report({ host: 'a', incarnation: 'f'.repeat(32) }, 1)], wish(), false), /only members/)
})

t.test('R8c: only the running owner ends quarantine', async (t) => {
  const q = claim({ quarantine: true })
  t.throws(() => decideChange(q, [report(a, 1)], wish({ clearQuarantine: true }), false), /running owner/)
  t.match(decideChange(q, [report(a, 1)], wish({ self: a, set: [a], clearQuarantine: true }), true), { ok: true, next: { quarantine: false } })
  t.match(decideChange(q, [report(a, 1)], wish({ self: a, set: [a] }), true), { ok: true, next: { quarantine: true } }, 'a set change does not end it')
})

t.test('R3, R5: who may append', async (t) => {
  t.match(refuseAppend(epoch(5), epoch(5), [a, b], b), /sealed/)
  t.match(refuseAppend(epoch(4), epoch(5), [a, c], b), /not a member/)
  t.equal(refuseAppend(epoch(4), epoch(5), [a, b], b), null)
})

t.test('the disk grows by a claim change, and never shrinks', async (t) => {
  const d = decideChange(claim(), [report(a, 7)], wish({ self: a, set: [a], capacityBytes: guest.capacityBytes * 2 }), true)
  t.match(d, { ok: true, next: { guest: { ...guest, capacityBytes: guest.capacityBytes * 2 } } })
  const after = decideChange(d.ok ? d.next : claim(), [report(a, 0)], wish({ self: a, set: [a] }), true)
  t.match(after, { ok: true, next: { guest: { capacityBytes: guest.capacityBytes * 2 } } }, 'and stays')
  t.throws(() => decideChange(claim(), [report(a, 7)], wish({ self: a, set: [a], capacityBytes: 512 }), true), /never shrinks/)
})
