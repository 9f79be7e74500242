/** A blockdev backing with a model of what must be on it, driven as the destager does: nothing is done before it is flushed. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { BlockdevBacking, type BlockdevOptions } from '../../lib/backing/blockdev/blockdev-backing.js'
import type { BlockdevNode } from '../../lib/backing/blockdev/node.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { IoError, operation } from '../../lib/io/operation.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

export const SIZE = 32 * 1024 * 1024

export interface Lab { readonly work: Workspace; readonly run: string; readonly messages: string[] }

export function lab(t: Test): Lab {
  const work = new Workspace('blockdev')
  t.teardown(() => work.close())
  return { work, run: work.file('run'), messages: [] }
}

export function qcow2(work: Workspace, bytes = SIZE): { readonly path: string; readonly node: BlockdevNode } {
  const path = work.file('disk.qcow2')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(bytes)])
  return { path, node: { driver: 'qcow2', file: { driver: 'file', filename: path } } }
}

/** Closed when the test ends. */
export async function open(t: Test, { run, messages }: Lab, node: BlockdevNode, more: Partial<BlockdevOptions> = {}): Promise<BlockdevBacking> {
  const backing = await BlockdevBacking.open({
    node, readOnly: false, runDirectory: run, settleMs: 0, warn: (message) => messages.push(message), ...more,
  })
  t.teardown(async () => {
    await backing.detach()
    backing.close()
  })
  return backing
}

export const daemonPid = (run: string): number => Number(readFileSync(join(run, 'pid'), 'utf8'))
export const isAlive = (pid: number): boolean => {
  // A dead process that nobody has waited for yet has no command line.
  try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '' } catch { return false }
}

/** Ends the daemon that serves now, as a crash does. Resolves when another one has begun. */
export async function crash(run: string): Promise<void> {
  const pid = daemonPid(run)
  process.kill(pid, 'SIGKILL')
  await until('the next qemu-storage-daemon', 10_000, () => { try { return daemonPid(run) !== pid } catch { return false } })
}

/** What QEMU's own tools see on the image, once it is closed. */
export function contentOf(work: Workspace, path: string, format: string): Buffer {
  const raw = work.file('content.raw')
  execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', path, raw])
  return readFileSync(raw)
}

export const errnoOf = (promise: Promise<unknown>): Promise<number> =>
  promise.then(() => 0, (error: unknown) => { if (error instanceof IoError) return error.errno; throw error })

interface Dirty { readonly offset: number; readonly bytes: number; readonly zero: boolean }

export class ModelDisk {
  readonly model: Buffer
  readonly backing: BlockdevBacking
  readonly #memory: AlignedMemory
  #dirty: Dirty[] = []

  constructor(t: Test, backing: BlockdevBacking) {
    this.backing = backing
    this.model = Buffer.alloc(backing.sizeBytes)
    this.#memory = new AlignedMemory(backing.sizeBytes)
    t.teardown(() => this.#memory.free())
  }

  /** One write of bytes that say where they belong and in which round, or one zeroing. */
  async put(offset: number, bytes: number, round: number, zero = false): Promise<void> {
    const memory = this.#memory.bytes.subarray(offset, offset + bytes)
    for (let i = 0; i < bytes; i++) memory[i] = zero ? 0 : (round * 31 + (offset + i >> 9) * 7 + i) & 0xff
    this.model.set(memory, offset)
    const dirty = { offset, bytes, zero }
    this.#dirty.push(dirty)
    await this.#write(dirty).catch(() => undefined)
  }

  #write({ offset, bytes, zero }: Dirty): Promise<number> {
    return operation((target) => zero
      ? this.backing.zero(offset, bytes, true, target, 0)
      : this.backing.write(this.#memory.address + offset, bytes, offset, false, target, 0))
  }

  /** Until a flush vouches for everything: what a cut does. Resolves to how often it had to be written again. */
  async settle(): Promise<number> {
    for (let again = 0; ; again++) {
      const generation = this.backing.errorGeneration
      let failed = false
      const fail = (): void => { failed = true }
      // One after the other: parts of them overlap, and the last one counts.
      if (again > 0) for (const dirty of this.#dirty) await this.#write(dirty).catch(fail)
      await operation((target) => this.backing.flush(target, 0)).catch(fail)
      if (!failed && again > 0 && this.backing.errorGeneration === generation) { this.#dirty = []; return again }
    }
  }

  read(offset: number, bytes: number): Promise<Buffer> {
    const memory = new AlignedMemory(bytes)
    return operation((target) => this.backing.read(memory.address, bytes, offset, target, 0))
      .then(() => Buffer.from(memory.bytes)).finally(() => memory.free())
  }

  wanted(offset: number, bytes: number): Buffer { return Buffer.from(this.model.subarray(offset, offset + bytes)) }
}
