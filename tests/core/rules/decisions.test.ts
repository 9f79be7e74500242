/** The rules of ownership that decide an acknowledgement, an append or the next claim: each named by its number. */
import t from 'tap'
import { AckLedger } from '../../../lib/core/ack-ledger.js'
import type { Claim } from '../../../lib/core/claim.js'
import { decideChange, firstClaim, refuseAppend, type ChangeWish, type Decision, type SealReport } from '../../../lib/core/transition.js'
import { epoch, won } from '../../../lib/core/units.js'
import { guest } from '../cluster-model.js'

const member = (host: string) => ({ host, incarnation: host.repeat(32) })
const [a, b, c] = [member('a'), member('b'), member('c')]
const wish = (over: Partial<ChangeWish> = {}): ChangeWish =>
  ({ self: b, set: [b, c], mode: 'write-back', nonce: 'd'.repeat(32), clearQuarantine: false, released: false, capacityBytes: null, damagedHere: new Set(), ...over })
/** Epoch 5 of a, from won 10 on, with an older log of which 2 to 8 are not on the backing. */
const older = { epoch: epoch(4), start: won(2), kept: 8, holders: [a, b] }
const claim = (over: Partial<Claim> = {}): Claim =>
  ({ ...firstClaim('v', guest, wish({ self: a, set: [a, b, c] })), start: won(10), base: won(2), epoch: epoch(5), inherited: [older], ...over })
const report = (m: typeof a, length: number, base = 0, quiet = false): SealReport => ({ member: m, length, base: won(base), quiet })
const next = (d: Decision): Claim => { if (!d.ok) throw new Error(d.reason); return d.next }

t.test('R1: nothing is acknowledged without the own copy', async (t) => {
  const ledger = new AckLedger([a, b])
  ledger.append()
  t.equal(ledger.store(1, 1), 0, 'the member has it, the owner has not')
  t.equal(ledger.store(0, 1), 1)
})

t.test('R2: nothing is acknowledged without a member of the set, whatever became of it', async (t) => {
  const ledger = new AckLedger([a, b, c])
  ledger.append()
  ledger.store(0, 1)
  t.equal(ledger.store(2, 1), 0)
  t.equal(ledger.set.length, 3, 'and the set is what it was: only another epoch has another ledger')
})

t.test('R3: an epoch that is sealed here takes no append any more', async (t) => {
  for (const sealed of [5, 6]) t.match(refuseAppend(epoch(sealed), epoch(5), [a, b], b), /sealed/)
  t.equal(refuseAppend(epoch(4), epoch(5), [a, b], b), null)
})

t.test('R4: the shortest sealed length is kept', async (t) => {
  for (const lengths of [[3, 5], [5, 3]]) t.match(decideChange(claim(), [report(b, lengths[0]!), report(c, lengths[1]!)], wish(), false), { kept: 3, next: { start: 13 } })
})

t.test('R4: who has lost its power since the epoch began proves nothing by a short log', async (t) => {
  const after = (m: typeof a, length: number, base = 0): SealReport => ({ ...report(m, length, base), powerLosses: 1 })
  const holders = (d: Decision): string[] => next(d).inherited.at(-1)!.holders.map((m) => m.host)
  const one = decideChange(claim(), [after(b, 3), report(c, 5)], wish(), false)
  t.match(one, { kept: 5 })
  t.same(holders(one), ['c'], 'and holds nothing that it lacks')
  t.same(next(one).set, [{ ...b, powerLosses: 1 }, c], 'in the next epoch it is what it is now')
  const both = decideChange(claim(), [after(b, 3), after(c, 5)], wish(), false)
  t.match([both, holders(both)], [{ kept: 5 }, ['c']], 'of such the longest counts')
  t.match(decideChange(claim(), [after(b, 7), report(c, 5)], wish(), false), { kept: 5 }, 'more than was acknowledged is no gain')
  t.match(decideChange(claim({ set: [{ ...a }, { ...b, powerLosses: 1 }, c] }), [after(b, 3), report(c, 5)], wish(), false), { kept: 3 }, 'not since this epoch began')
  t.match(decideChange(claim(), [after(b, 0, 14), after(c, 3)], wish(), false), { kept: 4 }, 'what is on the backing was kept')
})

t.test('R4b: only who was sealed is named as a holder', async (t) => {
  t.same(next(decideChange(claim(), [report(c, 3)], wish(), false)).inherited.at(-1)!.holders, [c])
})

t.test('R5: a host that was formatted anew is nobody of the set', async (t) => {
  const formatted = { ...b, incarnation: '9'.repeat(32) }
  t.match(refuseAppend(epoch(4), epoch(5), [a, b], formatted), /not a member/)
  t.throws(() => decideChange(claim(), [report(formatted, 0)], wish(), false), /\(R1, R5\)/)
})

t.test('R5b: without a sealed member nobody goes on from write-back', async (t) => {
  t.match(decideChange(claim(), [], wish(), false), { ok: false, reason: /no member of the set/ })
  t.throws(() => decideChange(claim(), [], wish(), false, true), /\(R5b\)/, 'nor after any time')
})

t.test('R8b: quarantine goes from claim to claim, clean hand-overs or not', async (t) => {
  const from = claim({ quarantine: true })
  t.equal(next(decideChange(from, [report(a, 3, 0, true)], wish(), false)).quarantine, true)
  t.equal(next(decideChange(from, [report(a, 3)], wish({ self: a, set: [a] }), true)).quarantine, true)
})

t.test('R8c: only the running owner ends quarantine', async (t) => {
  const from = claim({ quarantine: true }), end = { clearQuarantine: true }
  t.throws(() => decideChange(from, [report(b, 3)], wish(end), false), /\(R8c\)/)
  t.equal(next(decideChange(from, [report(a, 3)], wish({ ...end, self: a, set: [a] }), true)).quarantine, false)
})

t.test('R8e: a hand-over is clean only when the owner itself is quiet', async (t) => {
  const quarantined = (...reports: SealReport[]): boolean => next(decideChange(claim(), reports, wish(), false)).quarantine
  t.equal(quarantined(report(a, 3, 0, true)), false)
  t.equal(quarantined(report(a, 3, 0, false)), true)
  t.equal(quarantined(report(b, 3, 0, true)), true, 'a member knows nothing of the writes of its owner')
})

t.test('R12: the highest base of the sealed ends older logs as well', async (t) => {
  const { base, inherited } = next(decideChange(claim(), [report(b, 3, 11), report(c, 3, 4)], wish(), false))
  t.equal(base, 11)
  t.same(inherited.map((log) => log.epoch), [5])
})

t.test('R13: write-through begins with everything on the backing, and no quarantine', async (t) => {
  const through = wish({ self: a, set: [a], mode: 'write-through' })
  t.match(decideChange(claim(), [report(a, 3, 12)], through, true), { ok: false }, 'one record is dirty')
  t.match(decideChange(claim({ quarantine: true }), [report(a, 3, 13)], through, true), { ok: false })
  t.match(decideChange(claim(), [report(a, 3, 13)], through, true), { ok: true, next: { mode: 'write-through', inherited: [] } })
})
