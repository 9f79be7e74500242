/** Opens what the configuration calls a backing. */
import { EXIT, Failure } from '../core/failure.js'
import { isBlockDevice, openBlockFile } from '../io/block-file.js'
import type { IoRing } from '../io/ring.js'
import { storageRing } from '../io/storage-ring.js'
import type { Backing } from '../ports/io.js'
import { BlockdevBacking } from './blockdev/blockdev-backing.js'
import { describeNode, nodeProblems, type BlockdevNode } from './blockdev/node.js'
import { DangerousBacking, type DangerOptions } from './danger.js'
import { FileBacking } from './file-backing.js'
import { refuseQemuFuse } from './fuse.js'

/** A raw file or block device by its path, or anything that QEMU can open, in its own words. */
export type BackingSource = string | { readonly blockdev: BlockdevNode }

export interface BackingSpec {
  readonly source: BackingSource
  readonly readOnly: boolean
  readonly danger: DangerOptions | null
  /** Of a blockdev: where its qemu-storage-daemon has its socket, and how long late writes of a killed one may take. */
  readonly runDirectory: string
  readonly settleMs: number
  warn(message: string): void
}

export interface OpenedBacking {
  readonly backing: Backing
  /** Null for a blockdev, which is another process's. */
  readonly storage: IoRing | null
  /** A blockdev is open, and locked, by QEMU, and has no name of ours: neither guard nor image lock is about it. */
  readonly kind: 'file' | 'device' | 'blockdev'
  /** -1 for a blockdev. */
  readonly fd: number
  /** This host owns the volume from here on. A file is always open; a blockdev is opened now, and may take a while. */
  attach(): Promise<void>
  /** The same for a program that serves nothing else: what cannot be opened is an error. */
  attachNow(): Promise<void>
  /** Another host may own it from here on: nothing of this process has the image open when this resolves. */
  detach(): Promise<void>
  /** Afterwards `refreshSize` sees a size that was changed meanwhile. */
  reopen(): Promise<void>
  close(): void
}

export const describeSource = (source: BackingSource): string => typeof source === 'string' ? source : describeNode(source.blockdev)

const behind = (plain: Backing, danger: DangerOptions | null): Backing => danger === null ? plain : new DangerousBacking(plain, danger)

/** A file that belongs to a volume beside its image. */
export async function openBeside(ring: IoRing, path: string, danger: DangerOptions | null): Promise<Backing> {
  return behind(new FileBacking(await openBlockFile(ring, path, { readOnly: false }), false), danger)
}

/** `ring`: null for one of its own, as every shared storage should have. */
export async function openBacking(ring: IoRing | null, spec: BackingSpec): Promise<OpenedBacking> {
  const { source, danger } = spec
  if (typeof source === 'string') {
    refuseQemuFuse(source)
    const storage = ring ?? storageRing(source, isBlockDevice(source))
    const file = await openBlockFile(storage, source, { readOnly: spec.readOnly })
    const backing = behind(new FileBacking(file, spec.readOnly), danger)
    const nothing = (): Promise<void> => Promise.resolve()
    return {
      backing, storage, kind: file.isBlockDevice ? 'device' : 'file', fd: file.fd,
      attach: nothing, attachNow: nothing, detach: nothing, reopen: nothing,
      close: () => {
        backing.close()
        // A storage that hangs has its ring until this process ends.
        if (ring === null && storage.inFlight === 0) storage.close()
      },
    }
  }
  const problems = nodeProblems(source.blockdev)
  if (problems.length > 0) throw new Failure(EXIT.config, `blockdev ${describeSource(source)}: ${problems.join('; ')}`)
  const plain = await BlockdevBacking.open({ ...spec, node: source.blockdev, warn: (m) => spec.warn(m) })
  return {
    backing: behind(plain, danger), storage: null, kind: 'blockdev', fd: -1, close: () => plain.close(),
    attach: () => plain.attach(), attachNow: () => plain.attachNow(), detach: () => plain.detach(), reopen: () => plain.reopen(),
  }
}
