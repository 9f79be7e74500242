import t from 'tap'
import { decodeClaim, encodeClaim } from '../../lib/claim/claim-codec.js'
import type { Claim } from '../../lib/core/claim.js'
import { claimOf } from './claims.js'

const claim = claimOf(3)
const released: Claim = { ...claim, released: true, fingerprint: { sizeBytes: 2 ** 40, modifiedMs: null, blocks: '0123abcd'.repeat(66) } }

t.test('claims with and without a fingerprint and samples are read as they were written', async (t) => {
  const samples = [{ lba: 2 ** 34, sectors: 8, crc: 0xffff_ffff }, { lba: 0, sectors: 1, crc: 0 }]
  for (const each of [claim, { ...claim, released: true }, released, { ...released, samples }, { ...claim, samples }] satisfies Claim[]) {
    t.same(decodeClaim(encodeClaim(each), 'x'), each)
  }
})

t.test('what makes no sense is not written', async (t) => {
  const { released: _released, ...held } = released
  t.throws(() => encodeClaim(held), /a claim that is held has a fingerprint/)
  for (const blocks of ['0123abc', '0123ABCD', '0123abcd'.repeat(67)]) t.throws(() => encodeClaim({ ...released, fingerprint: { ...released.fingerprint!, blocks } }))
  for (const samples of [[], [{ lba: 0, sectors: 9, crc: 0 }], [{ lba: 0, sectors: 0, crc: 0 }], [{ lba: 0, sectors: 1, crc: 2 ** 32 }], Array.from({ length: 7 }, (_, lba) => ({ lba, sectors: 1, crc: 0 }))]) {
    t.throws(() => encodeClaim({ ...claim, samples }))
  }
})
