/** The fingerprint of a backing that nobody writes to just now. A hole costs as little as any other block: one small read. */
import { fstatSync } from 'node:fs'
import { BLOCK_BYTES } from '../core/units.js'
import { checksumText, fingerprintPlaces, type Fingerprint } from '../core/fingerprint.js'
import { crc } from '../io/crc.js'
import { allEnded } from '../io/operation.js'
import { readBytes, within } from '../io/read-bytes.js'
import { limits } from '../limits.js'
import type { OpenedBacking } from './open.js'

type Looked = Pick<OpenedBacking, 'backing' | 'kind' | 'fd'>

/** `placesOfBytes`: the size whose places are looked at, to compare with an earlier fingerprint. Rejects when it cannot be read in time. */
export async function readFingerprint({ backing, kind, fd }: Looked, placesOfBytes = backing.sizeBytes): Promise<Fingerprint> {
  const blocks = await within(limits.backingCheckMs, allEnded(fingerprintPlaces(placesOfBytes).map((at) => checksumAt({ backing, kind, fd }, at))))
  // A blockdev learns its size when it is open, which a read waits for.
  return { sizeBytes: backing.sizeBytes, modifiedMs: kind === 'file' ? Math.floor(fstatSync(fd).mtimeMs) : null, blocks: blocks.join('') }
}

const BEYOND_THE_END = '--------'

async function checksumAt({ backing }: Looked, offsetBytes: number): Promise<string> {
  const beyond = (): boolean => offsetBytes + BLOCK_BYTES > backing.sizeBytes
  if (beyond()) return BEYOND_THE_END
  try {
    return checksumText(crc(await readBytes(backing, offsetBytes, BLOCK_BYTES), 0))
  } catch (error) {
    if (beyond()) return BEYOND_THE_END
    throw error
  }
}
