/** Opens what the configuration calls a backing. */
import { openBlockFile } from '../io/block-file.js'
import type { IoRing } from '../io/ring.js'
import type { Backing } from '../ports/io.js'
import { DangerousBacking, type DangerOptions } from './danger.js'
import { FileBacking } from './file-backing.js'

export interface BackingSpec {
  readonly path: string
  readonly readOnly: boolean
  readonly danger: DangerOptions | null
}

export interface OpenedBacking { readonly backing: Backing; readonly fd: number; readonly isBlockDevice: boolean }

export async function openBacking(ring: IoRing, spec: BackingSpec): Promise<OpenedBacking> {
  const file = await openBlockFile(ring, spec.path, { readOnly: spec.readOnly })
  const plain = new FileBacking(file, spec.readOnly)
  const backing = spec.danger === null ? plain : new DangerousBacking(plain, spec.danger)
  return { backing, fd: file.fd, isBlockDevice: file.isBlockDevice }
}
