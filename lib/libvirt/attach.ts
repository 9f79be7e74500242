/** A volume becomes a disk of a domain that runs. libvirt calls no hook for that, so everything is asked here first. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { whySilent } from '../client/probe.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { diskXml, freeTarget } from './disk-xml.js'
import { readDomain } from './domain-xml.js'
import type { LocalVolume } from './local-volumes.js'

export interface AttachOptions {
  readonly domain: string
  /** Null: the first that is free. */
  readonly target: string | null
  readonly queues: number | null
  /** Also in the XML that the next start takes. */
  readonly persistent: boolean
  /** libvirt's URI; null: its default. */
  readonly connect: string | null
}

/** Resolves to the disk's name in the domain. Throws Failure, and then nothing was changed. */
export async function attach(volume: LocalVolume, options: AttachOptions): Promise<string> {
  await refuseUnusable(volume)
  const virsh = (...args: readonly string[]): Promise<string> => runVirsh(options.connect, args)
  const { targets } = readDomain(await virsh('dumpxml', options.domain))
  const target = options.target ?? freeTarget(targets), folder = mkdtempSync(join(tmpdir(), 'holdfast-attach-'))
  try {
    const file = join(folder, 'disk.xml')
    writeFileSync(file, diskXml({ socket: volume.socket, target, queues: options.queues }))
    await virsh('attach-device', options.domain, file, '--live', ...(options.persistent ? ['--config'] : []))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return target
}

/** With an absent or silent socket, QEMU would freeze the guest that is running. */
async function refuseUnusable({ name, socket, problem, frontEnds }: LocalVolume): Promise<void> {
  if (problem !== null) throw new Failure(EXIT.unsafe, `volume ${name} cannot be used now: ${problem} (nothing was changed)`)
  const silent = await whySilent(socket, limits.probeMs)
  if (silent !== null) throw new Failure(EXIT.unreachable, `volume ${name}: ${socket} ${silent}, and QEMU would freeze the running guest on it; look at the daemon's log (nothing was changed)`)
  if (frontEnds > 0) throw new Failure(EXIT.unsafe, `volume ${name} is connected to a guest already, and a disk belongs to one guest; detach it there first (nothing was changed)`)
}

function runVirsh(uri: string | null, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('virsh', [...(uri === null ? [] : ['--connect', uri]), '--quiet', ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: limits.virshMs, killSignal: 'SIGKILL' })
    let stdout = '', stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    child.on('error', (error) => reject(new Failure(EXIT.config, `virsh cannot be run: ${error.message}; install it (Debian: libvirt-clients)`, { cause: error })))
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout)
      else reject(new Failure(signal === null ? EXIT.unsafe : EXIT.unreachable, `"virsh ${args.slice(0, 2).join(' ')}" failed: ${signal === null ? firstError(stderr) : `no answer within ${limits.virshMs / 1000} s`}`))
    })
  })
}

const firstError = (text: string): string => text.split('\n').map((line) => line.replace(/^error: /, '').trim()).filter((line) => line !== '').at(-1) ?? 'it gave no reason'
