/** struct virtio_blk_config, 60 bytes, little-endian. */
import { limits } from '../limits.js'
import type { Geometry } from '../ports/guest.js'
import { FEATURE } from '../vhost/protocol.js'

export const CONFIG_BYTES = 60
export const WCE_AT = 32

export function configSpace(geometry: Geometry, queues: number, writeCache: boolean): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES)
  const view = new DataView(bytes.buffer)
  const perBlock = geometry.blockSizeBytes / 512
  view.setBigUint64(0, BigInt(geometry.capacitySectors), true)
  view.setUint32(12, limits.segMax, true)
  view.setUint32(20, geometry.blockSizeBytes, true)
  // Topology: 4 KiB physical blocks, because a record is padded to them.
  view.setUint8(24, Math.log2(4096 / geometry.blockSizeBytes))
  view.setUint16(26, Math.max(1, 4096 / geometry.blockSizeBytes), true)
  view.setUint8(WCE_AT, writeCache ? 1 : 0)
  view.setUint16(34, queues, true)
  view.setUint32(36, limits.discardSectorsMax, true)
  view.setUint32(40, 1, true)
  view.setUint32(44, perBlock, true)
  view.setUint32(48, limits.discardSectorsMax, true)
  view.setUint32(52, 1, true)
  view.setUint8(56, 1)
  return bytes
}

/** Virtio features offered for a volume. */
export function featuresOf(geometry: Geometry): bigint {
  const f = FEATURE
  let features = f.segMax | f.blkSize | f.flush | f.topology | f.configWce | f.mq | f.writeZeroes | f.logAll | f.indirect | f.eventIdx |
    f.protocolFeatures | f.version1 | f.ringPacked
  if (geometry.readOnly) features |= f.readOnly
  if (geometry.discards) features |= f.discard
  return features
}
