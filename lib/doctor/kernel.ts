/** What the kernel allows this process: io_uring, the memory for it, memory that is shared by descriptor. */
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { native } from 'vhost-user-ts-bindings'
import { operation } from '../io/operation.js'
import { AlignedMemory } from '../io/memory.js'
import { IoRing } from '../io/ring.js'
import { limits } from '../limits.js'
import { fail, messageOf, ok, warn, type Finding } from './finding.js'

const PAGE = 4096
/** Since then rings are no locked memory. */
const FREE_OF_MEMLOCK = [5, 12] as const
/** An entry of the submission ring, its index, and two of the completion ring. */
const RING_ENTRY_BYTES = 64 + 4 + 2 * 16

export interface KernelFindings {
  readonly findings: readonly Finding[]
  /** Nothing that Holdfast opens can be read without. */
  readonly hasRing: boolean
}

export async function checkKernel(volumes: number): Promise<KernelFindings> {
  const ring = await ringWorks(), shared = sharedMemory()
  return { findings: [ring, ...memlock(release(), readLimits(), volumes), ...(shared === null ? [] : [shared])], hasRing: ring.level === 'ok' }
}

/** A ring of the size that a daemon has, and an operation through it: an older kernel has rings, and not this operation. */
async function ringWorks(): Promise<Finding> {
  let ring: IoRing
  try {
    ring = new IoRing()
  } catch (error) {
    return fail('kernel', `io_uring cannot be used on Linux ${release()}: ${messageOf((error as Error).cause)}`, howToAllow(disabled()))
  }
  const fd = native.memfd('holdfast-doctor', PAGE, false), memory = new AlignedMemory(PAGE)
  try {
    await operation((target) => ring.read(fd, memory.address, PAGE, 0, target, 0))
    return ok('kernel', `io_uring works, on Linux ${release()}`)
  } catch (error) {
    return fail('kernel', `io_uring on Linux ${release()} cannot read: ${messageOf(error)}`, 'use a newer kernel: Debian 12 has 6.1')
  } finally {
    memory.free()
    native.closeFd(fd)
    ring.close()
  }
}

const disabled = (): string => {
  try { return readFileSync('/proc/sys/kernel/io_uring_disabled', 'utf8').trim() } catch { return '0' }
}

/** `value`: of the sysctl kernel.io_uring_disabled. */
export function howToAllow(value: string): string {
  if (value === '2') return 'it is switched off for everybody: sysctl -w kernel.io_uring_disabled=0, and the same in /etc/sysctl.d'
  if (value === '1') return 'it is for root and the group in kernel.io_uring_group only: run as one of them, or sysctl -w kernel.io_uring_disabled=0'
  return 'the sysctl allows it, so a seccomp filter does not: lift that of this container or service, or raise RLIMIT_NOFILE and RLIMIT_MEMLOCK'
}

const readLimits = (): string => {
  try { return readFileSync('/proc/self/limits', 'utf8') } catch { return '' }
}

/** Only kernels that count rings as locked memory care. `procLimits`: the text of /proc/self/limits. */
export function memlock(kernel: string, procLimits: string, volumes: number): Finding[] {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => parseInt(part, 10))
  if (major > FREE_OF_MEMLOCK[0] || (major === FREE_OF_MEMLOCK[0] && minor >= FREE_OF_MEMLOCK[1])) return []
  const allowed = /^Max locked memory\s+(\S+)/m.exec(procLimits)?.[1]
  if (allowed === undefined || allowed === 'unlimited') return []
  const need = (limits.ringEntries + volumes * 2 * limits.storageRingEntries) * RING_ENTRY_BYTES
  if (Number(allowed) >= need) return [ok('kernel', `locked memory: ${allowed} bytes, of which the rings need ${need}`)]
  return [fail('kernel', `locked memory is limited to ${allowed} bytes, and Linux ${kernel} counts the rings' ${need}`, 'set LimitMEMLOCK=infinity in the service, or ulimit -l unlimited')]
}

/** For QEMU's inflight region, and for what a qemu-storage-daemon reads and writes. Null where it is as it should be: that is the rule. */
function sharedMemory(): Finding | null {
  try {
    const fd = native.memfd('holdfast-doctor', PAGE, true)
    try {
      native.unmap(native.mapShared(fd, PAGE, 0), PAGE)
    } finally {
      native.closeFd(fd)
    }
    return null
  } catch (error) {
    return warn('kernel', `memory cannot be shared by descriptor: ${messageOf(error)}`, 'allow memfd_create in the seccomp filter of this container; guests cannot reconnect without it')
  }
}
