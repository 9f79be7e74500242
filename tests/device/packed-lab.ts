/** A front end whose first ring is packed. */
import { FEATURE } from '../../lib/vhost/protocol.js'
import { BASIC, type DeviceLab, type RawFrontEnd } from './device-lab.js'
import { RawPackedRing } from './raw-packed-ring.js'

export const PACKED = BASIC | FEATURE.ringPacked

export interface PackedFrontEnd { readonly fe: RawFrontEnd; readonly ring: RawPackedRing }

/** Connected and started, the ring having `at` entries behind it. */
export async function packedFrontEnd(lab: DeviceLab, { size = 16, at = 0, features = PACKED } = {}): Promise<PackedFrontEnd> {
  const fe = await lab.frontEnd({ start: false, size }), ring = new RawPackedRing(fe.memory, fe.rings[0]!, at)
  // What a ring looks like that far on: the last round's entries are used.
  for (let count = at - size; count < at; count++) if (count >= 0) ring.setFlags(count, ring.wrap(count) ? 0x8080 : 0)
  await fe.negotiate(features)
  await fe.shareMemory()
  await fe.startRing(0, { base: ring.base })
  return { fe, ring }
}
