/**
 * The power goes at any moment of a region's life. What was confirmed as power-safe is found again, what is found is
 * what was written, and the region can be opened: on an image made of every write that was certain and of any sectors
 * of those that were not.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { epoch, won } from '../../lib/core/units.js'
import { operation } from '../../lib/io/operation.js'
import { IoRing } from '../../lib/io/ring.js'
import type { CompletionTarget } from '../../lib/ports/io.js'
import type { RegionLog } from '../../lib/ports/region.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { openRegion } from '../../lib/region/region.js'
import { QUARTER, RegionLab, SEGMENT_BYTES, VOLUME, newLog, put, type Stored } from './region-lab.js'

const SEGMENTS = 6
const RUNS = 10
const CUTS = 8

interface Write { readonly at: number; readonly offset: number; readonly bytes: Buffer; certainFrom: number }
interface Promised { readonly at: number; readonly sealed: number; readonly base: number; readonly flushed: number }

function copyOf(address: number, length: number): Buffer {
  const view = native.viewOf(address, length), bytes = Buffer.from(new Uint8Array(view))
  native.detach(view)
  return bytes
}

/** Time is the number of events so far: submissions and completions. */
class Recorder extends IoRing {
  now = 0
  readonly writes: Write[] = []
  readonly #done: Write[] = []

  override write(fd: number, address: number, length: number, offset: number, durable: boolean, target: CompletionTarget, token: number): void {
    const bytes = copyOf(address, length)
    const write: Write = { at: ++this.now, offset, bytes, certainFrom: Infinity }
    this.writes.push(write)
    super.write(fd, address, length, offset, durable, {
      complete: (_token, result) => {
        this.now++
        if (durable) write.certainFrom = this.now
        else this.#done.push(write)
        target.complete(token, result)
      },
    }, token)
  }

  override fdatasync(fd: number, target: CompletionTarget, token: number): void {
    const covered = this.#done.splice(0)
    super.fdatasync(fd, {
      complete: (_token, result) => {
        this.now++
        for (const write of covered) write.certainFrom = this.now
        target.complete(token, result)
      },
    }, token)
  }
}

type Random = (below: number) => number

/** mulberry32: a failing seed can be run again. */
function randomOf(seed: number): Random {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

/** One volume's life in a region: records, flushes, bases, seals, takeovers, deletions. */
async function live(lab: RegionLab, ring: Recorder, random: Random): Promise<{ promises: Promised[]; stored: Map<string, Stored> }> {
  const region = await openRegion(ring, lab.path, {
    host: 'alpha', sizeBytes: segmentOffset(SEGMENTS, SEGMENT_BYTES), segmentBytes: SEGMENT_BYTES, trustSummaries: true, progress: () => undefined,
  })
  const promises: Promised[] = [], stored = new Map<string, Stored>(), old: RegionLog[] = []
  let log = newLog(region), last = 0, flushed = 0, base = 0, sealed = 0, pending: Promise<unknown>[] = []
  const promise = (): void => { promises.push({ at: ring.now, sealed, base, flushed }) }
  const saveBase = async (): Promise<void> => {
    await Promise.all(pending.splice(0))
    const next = base + random(last - base + 1)
    await region.saveVolumeState(VOLUME, { base: won(next) })
    base = next
    promise()
    for (const each of [...old, log]) each.trim(won(base))
    while (old.length > 0 && old[0]!.start + old[0]!.storedLength <= base) region.deleteLog(old.shift()!)
  }
  for (let step = 0; step < 150; step++) {
    const what = random(20)
    if (what < 11) {
      if (!log.hasRoom(4096 + 512 * QUARTER) || pending.length > 4) { await saveBase(); continue }
      const key = `${log.epoch} ${++last}`, durable = random(2) === 0
      pending.push(put(log, last, { sectors: 1 + random(random(2) === 0 ? QUARTER : 40), flushed, durable }).then((record) => {
        stored.set(key, record)
        if (!durable || record.won !== flushed + 1) return
        flushed = record.won
        promise()
      }))
    } else if (what < 14) {
      const covers = log.start + log.storedLength
      await operation((target) => region.flush(target, 0))
      flushed = Math.max(flushed, covers)
      promise()
    } else if (what < 17) {
      await saveBase()
    } else if (what < 19) {
      await Promise.all(pending.splice(0))
      await operation((target) => region.flush(target, 0))
      flushed = last
      sealed = log.epoch
      await region.saveVolumeState(VOLUME, { sealed: epoch(sealed) })
      promise()
      old.push(log)
      log = newLog(region, sealed + 1, last)
    }
  }
  await Promise.all(pending)
  await region.close()
  return { promises, stored }
}

/** What may be on the disk when the power goes at `cut`. */
function imageAt(lab: RegionLab, writes: readonly Write[], cut: number, random: Random): void {
  const fd = openSync(lab.path, 'w')
  ftruncateSync(fd, segmentOffset(SEGMENTS, SEGMENT_BYTES))
  for (const { at, offset, bytes, certainFrom } of writes) {
    if (at > cut) break
    if (certainFrom <= cut) { writeSync(fd, bytes, 0, bytes.length, offset); continue }
    const luck = random(4)
    for (let i = 0; luck > 0 && i < bytes.length; i += 512) if (luck === 3 || random(3) > 0) writeSync(fd, bytes, i, 512, offset + i)
  }
  closeSync(fd)
}

/** A summary that is on the disk before its records are would vouch for what the power took: half of the cuts look for that. */
function cutOf(ring: Recorder, first: number, i: number, random: Random): number {
  const summaries = ring.writes.filter(({ bytes }) => bytes.length >= 4096 && bytes.toString('latin1', bytes.length - 128, bytes.length - 124) === 'HDFY')
  if (i % 2 === 0 || summaries.length === 0) return first + random(ring.now - first + 1)
  return Math.max(first, summaries[random(summaries.length)]!.at + random(4))
}

for (let seed = 1; seed <= RUNS; seed++) {
  t.test(`nothing that was confirmed is lost when the power goes (seed ${seed})`, async (t) => {
    const random = randomOf(seed * 7919), lab = new RegionLab(t), ring = new Recorder(64)
    t.teardown(() => ring.close())
    const { promises, stored } = await live(lab, ring, random)
    for (let i = 0; i < CUTS; i++) {
      const first = promises[0]!.at, cut = cutOf(ring, first, i, random), after = new RegionLab(t)
      imageAt(after, ring.writes, cut, random)
      const kept = promises.filter(({ at }) => at <= cut).at(-1)!
      const file = readFileSync(after.path), region = await after.open()
      const state = region.volumeState(VOLUME), where = `cut at ${cut}`
      t.ok(state.sealed >= kept.sealed && state.base >= kept.base, where, { state, kept })
      const logs = [...region.logs(VOLUME)].sort((a, b) => a.epoch - b.epoch), end = logs.at(-1)
      t.ok(kept.flushed <= Math.max(state.base, ...logs.map((log) => log.start + log.storedLength)), `${where}: flushed to ${kept.flushed}`)
      let from: number = state.base
      for (const log of logs) {
        const to = log.start + log.storedLength
        t.ok(log.start <= from || from >= kept.flushed, `${where}: no hole before epoch ${log.epoch}`)
        for (let each = Math.max(log.start, state.base) + 1; each <= to; each++) {
          const { offset, payload } = stored.get(`${log.epoch} ${each}`)!
          const found = file.subarray(offset + HEADER_BYTES, offset + HEADER_BYTES + payload.length)
          if (!found.equals(payload)) t.fail(`${where}: record ${each} of epoch ${log.epoch} is not what was written`)
        }
        await log.buildLayer(log.storedLength, state.base)
        from = to
      }
      if (end?.hasRoom(8192) === true) await put(end, end.start + end.storedLength + 1)
      const again = (await after.open()).logs(VOLUME).find((log) => log.epoch === end?.epoch)
      if (end !== undefined) t.equal(again?.storedLength, end.storedLength, `${where}: and it goes on`)
    }
  })
}
