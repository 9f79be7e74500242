import { randomBytes } from 'node:crypto'
import type { Claim } from '../../lib/core/claim.js'
import { epoch, won } from '../../lib/core/units.js'

/** A claim that says nothing but who has the volume in this epoch; no two are alike. */
export function claimOf(nth: number, host = 'alpha'): Claim {
  const owner = { host, incarnation: 'a'.repeat(32) }
  return {
    format: 1, volume: '11111111-2222-4333-8444-555555555555', epoch: epoch(nth), owner, set: [owner], mode: 'write-back',
    start: won(0), inherited: [], base: won(0), quarantine: false, nonce: randomBytes(16).toString('hex'),
    guest: { capacityBytes: 2 ** 30, blockSizeBytes: 512, serial: 'test', durability: 'flush', discards: true },
  }
}
