/** The region, or the place where it is to be: its size, its owner, direct I/O, and how fast a durable write is. */
import { existsSync, statSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatBytes } from '../config/units.js'
import type { HostConfig } from '../config/schema.js'
import { openBlockFile, type RingBlockFile } from '../io/block-file.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { PlainFile } from '../io/plain-file.js'
import { IoRing } from '../io/ring.js'
import { limits } from '../limits.js'
import { REGION_BYTES_MAX, regionMinBytes, segmentOffset } from '../region/layout.js'
import { newestSlot, readSlots } from '../region/slots.js'
import { writeCacheBelow } from '../io/write-cache.js'
import { fail, failedBy, messageOf, ok, warn, type Finding } from './finding.js'
import { withProbeFile } from './probe-file.js'

const BLOCK = 4096
const AREA = 'region'

export async function checkRegion(config: HostConfig): Promise<Finding[]> {
  const { path } = config.region, folder = dirname(path)
  if (!existsSync(folder)) return [fail(AREA, `the folder of region.path = "${path}" does not exist`, `make it, on local NVMe: mkdir -p ${folder}`)]
  const there = existsSync(path), findings = there ? await present(config) : planned(config)
  if (findings.some(({ level }) => level === 'fail')) return findings
  try {
    findings.push(...await direct(path, there))
  } catch (error) {
    findings.push(failedBy(AREA, error, `make sure that ${folder} can be written to, or choose another region.path`))
  }
  const cache = writeCacheBelow(there ? path : folder)
  if (cache === 'write through') findings.push(ok(AREA, 'its disk has no volatile write cache: what is written is power-safe'))
  if (cache === 'write back') {
    findings.push(ok(AREA, 'its disk has a volatile write cache: power-safe is what was flushed, and each guest flush flushes it'))
  }
  return findings
}

async function present({ region: { path }, host }: HostConfig): Promise<Finding[]> {
  let file: PlainFile
  try { file = PlainFile.open(path) } catch (error) { return [failedBy(AREA, error, 'choose another region.path')] }
  try {
    const superblock = newestSlot(await readSlots(file), path)
    if (superblock === null) return [ok(AREA, `${path}, ${formatBytes(file.sizeBytes)}, is empty and will be made a region`)]
    const need = segmentOffset(superblock.segmentCount, superblock.segmentBytes)
    if (superblock.host !== host.name) return [fail(AREA, `${path} belongs to host "${superblock.host}", and host.name is "${host.name}"`, 'give each host a region of its own, or put the name right')]
    if (file.sizeBytes < need) return [fail(AREA, `${path} has ${file.sizeBytes} bytes, and its superblock says ${need}`, 'put the missing part back')]
    return [ok(AREA, `${path}, ${formatBytes(file.sizeBytes)}, of host ${superblock.host}${file.inUse ? ', in use by a running daemon' : ''}`)]
  } catch (error) {
    return [failedBy(AREA, error, 'choose another region.path')]
  } finally {
    file.close()
  }
}

function planned({ region: { path, size, segment_size: segmentBytes } }: HostConfig): Finding[] {
  if (size === undefined) return [fail(AREA, `${path} does not exist, and no size is given`, 'set region.size to have it created')]
  const least = regionMinBytes(segmentBytes)
  if (size < least || size > REGION_BYTES_MAX) return [fail(AREA, `region.size = ${size} bytes cannot be used with segments of ${segmentBytes}`, `choose from ${least} to ${REGION_BYTES_MAX} bytes`)]
  const { bavail, bsize } = statfsSync(dirname(path)), free = bavail * bsize
  if (free < size) return [fail(AREA, `${path} is to have ${formatBytes(size)}, and ${formatBytes(free)} are free there`, 'make room, or choose a smaller region.size')]
  return [ok(AREA, `${path} will be created with ${formatBytes(size)}; ${formatBytes(free)} are free`)]
}

/** Writes only to a file of our own: the region is a daemon's, or will be. A device has no folder for one. */
async function direct(path: string, there: boolean): Promise<Finding[]> {
  const ring = new IoRing(limits.storageRingEntries)
  try {
    const isDevice = there && statSync(path).isBlockDevice()
    if (isDevice) {
      const file = await openBlockFile(ring, path, { readOnly: true })
      try { return [ok(AREA, `direct I/O in blocks of ${file.alignmentBytes} bytes`)] } finally { file.close() }
    }
    return await withProbeFile(dirname(path), 2 * BLOCK, async (probe) => {
      const file = await openBlockFile(ring, probe, { readOnly: false })
      try { return [ok(AREA, `direct I/O in blocks of ${file.alignmentBytes} bytes`), await latency(file)] } finally { file.close() }
    })
  } finally {
    await ring.drain()
    ring.close()
  }
}

/** What a guest's flush, or a write with durability = "write", has to wait for. */
async function latency(file: RingBlockFile): Promise<Finding> {
  const memory = new AlignedMemory(BLOCK), times: number[] = []
  try {
    for (let i = 0; i < limits.doctorWrites; i++) {
      const started = performance.now()
      await operation((target) => file.write(memory.address, BLOCK, 0, true, target, 0))
      times.push(performance.now() - started)
    }
  } catch (error) {
    return fail(AREA, `a durable direct write fails there: ${messageOf(error)}`, 'look at the kernel log and the health of this disk')
  } finally {
    memory.free()
  }
  return judged(times)
}

export function judged(timesMs: readonly number[]): Finding {
  const times = [...timesMs].sort((a, b) => a - b)
  const median = times[times.length >> 1]!, text = `a durable 4 KiB write takes ${median.toFixed(2)} ms (median of ${times.length}, worst ${times.at(-1)!.toFixed(2)} ms)`
  return median <= limits.doctorSlowWriteMs ? ok(AREA, text)
    : warn(AREA, `${text}: little faster than shared storage`, 'use an NVMe disk with power-loss protection for the region')
}
