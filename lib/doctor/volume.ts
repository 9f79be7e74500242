/** One volume of the configuration: its image, the journal's place, the sockets' folder. What is opened is opened for reading. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { imagePath } from '../backing/guard.js'
import { describeSource, openBacking, type OpenedBacking } from '../backing/open.js'
import { formatBytes } from '../config/units.js'
import type { HostConfig, VolumeConfig } from '../config/schema.js'
import { planJournal } from '../daemon/journal.js'
import { fail, failedBy, messageOf, ok, warn, type Finding } from './finding.js'
import { withProbeFile } from './probe-file.js'

export interface VolumeFindings {
  readonly findings: readonly Finding[]
  /** Where its claim is; null where that cannot be told. */
  readonly claims: string | null
}

export async function checkVolume(config: VolumeConfig, { danger_zone: danger }: HostConfig): Promise<VolumeFindings> {
  const about = `volume ${config.name}`, findings: Finding[] = []
  if (danger.backing[config.name] !== undefined) findings.push(warn(about, 'danger_zone makes its storage slow or broken on purpose', 'remove the section where this is no demonstration'))
  const folder = dirname(config.socket)
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) findings.push(fail(about, `the folder ${folder} of its socket does not exist`, `mkdir -p ${folder}, and at every boot (RuntimeDirectory= in the service)`))
  if (typeof config.backing !== 'string') findings.push(qemu(about))
  if (findings.some(({ level, text }) => level === 'fail' && text.startsWith('qemu'))) return { findings, claims: config.claims ?? null }
  let opened: OpenedBacking
  const run = mkdtempSync(join(tmpdir(), 'hf-doctor-'))
  try {
    opened = await openBacking(null, { source: sourceOf(config), readOnly: true, danger: null, runDirectory: join(run, 'qsd'), settleMs: 0, warn: () => undefined })
  } catch (error) {
    rmSync(run, { recursive: true, force: true })
    findings.push(failedBy(about, error, 'mount the shared storage, or put backing right'))
    return { findings, claims: config.claims ?? null }
  }
  try {
    findings.push(...size(about, config, opened), ...await journal(about, config, opened))
  } finally {
    await opened.detach()
    opened.close()
    rmSync(run, { recursive: true, force: true })
  }
  const claims = config.claims ?? (opened.kind === 'file' && typeof config.backing === 'string' ? join(dirname(resolve(config.backing)), '.holdfast') : null)
  if (claims === null) findings.push(fail(about, `its backing ${opened.backing.path} is a block device, so there is no shared folder beside it`, 'set claims to a directory that all hosts of this volume share'))
  return { findings, claims }
}

function sourceOf({ backing, guard }: VolumeConfig): VolumeConfig['backing'] {
  if (typeof backing !== 'string') return backing
  return guard ? imagePath(resolve(backing)) : resolve(backing)
}

function size(about: string, config: VolumeConfig, { backing, kind }: OpenedBacking): Finding[] {
  const source = sourceOf(config), path = describeSource(source)
  // A backing has whole sectors only, whatever its file has.
  const sizeBytes = kind === 'file' && typeof source === 'string' ? statSync(source).size : backing.sizeBytes, left = sizeBytes % config.block_size
  if (sizeBytes < config.block_size) return [fail(about, `its backing ${path} has ${sizeBytes} bytes, not one block of ${config.block_size}`, 'give it the size that the guest\'s disk is to have')]
  if (left > 0) return [warn(about, `its backing ${path} has ${sizeBytes} bytes, which is no multiple of ${config.block_size}: the last ${left} are not shown to the guest`, 'make it larger with truncate, if anything is in them')]
  return [ok(about, `${path}, ${formatBytes(sizeBytes)}, ${kind === 'blockdev' ? 'through a qemu-storage-daemon' : `direct I/O in blocks of ${backing.alignmentBytes} bytes`}`)]
}

async function journal(about: string, config: VolumeConfig, opened: OpenedBacking): Promise<Finding[]> {
  const image = typeof config.backing === 'string' ? resolve(config.backing) : opened.backing.path
  try {
    const planned = planJournal({ name: config.name, image, folder: config.journal ?? null, order: config.order ?? null, danger: null }, opened)
    if (planned.journal === null || config.read_only) return []
    const folder = config.journal ?? dirname(image)
    return await withProbeFile(folder, 0, async () => []).catch((error: unknown) =>
      [fail(about, `its journal cannot be written in ${folder}: ${messageOf(error)}`, 'let this host write there, or set journal to a folder that all hosts of this volume share')])
  } catch (error) {
    return [failedBy(about, error, 'set journal, or choose another order')]
  }
}

/** Which one there is: what an image needs is for it to say, when it opens the image. */
function qemu(about: string): Finding {
  const { stdout, error } = spawnSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8', timeout: VERSION_MS })
  if (error !== undefined) return fail(about, `qemu-storage-daemon cannot be run: ${error.message}`, 'install it (Debian: qemu-system-common)')
  return ok(about, `qemu-storage-daemon ${/version (\d\S*)/.exec(stdout)?.[1] ?? 'of unknown version'}`)
}

const VERSION_MS = 5000
