/**
 * The daemon is killed again and again at any moment under a client that checks everything: what was acknowledged is
 * there, what was in flight is done once it is back, in the order it was asked for. KILLS sets how often.
 */
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { Expected } from '../../lib/replay/expected.js'
import { stampSectors } from '../../lib/replay/stamp.js'
import type { Trace, TraceOperation } from '../../lib/replay/trace.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

const KILLS = Number(process.env['KILLS'] ?? 12)
const SECTORS = 32768, SLOT_SECTORS = 64, DEPTH = 16
const SEED = Number(process.env['SEED'] ?? 20261121)

let x = SEED >>> 0
const pick = (below: number): number => {
  x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return Math.floor((x / 0x1_0000_0000) * below)
}

for (const packed of [false, true]) t.test(`${KILLS} kills under a verifying client with ${packed ? 'packed' : 'split'} rings`, { timeout: 50_000 + KILLS * 2500 }, async (t) => {
  const work = new Workspace('often')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', SECTORS * 512)
  const args = ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '96MiB', '--quarantine', '200ms']
  let daemon = await startBlk(work, 'blk', args)
  const client = await VhostClient.connect(work.file('s'), { queues: 2, bufferBytes: DEPTH * SLOT_SECTORS * 512, resumable: true, timeoutMs: 20_000, packed })
  const trace: Trace = { capacitySectors: SECTORS, seed: SEED, operations: [] }
  const expected = new Expected(trace, true), wrong: string[] = []
  const busy = new Set<TraceOperation>()
  let operations = 0, resumed = 0, stop = false

  const one = async (slot: number): Promise<void> => {
    while (!stop) {
      const index = operations++, roll = pick(10), lengthSectors = 1 + pick(SLOT_SECTORS)
      const o: TraceOperation = {
        timeUs: 0, kind: roll < 5 ? 'write' : roll < 8 ? 'read' : roll < 9 ? 'discard' : 'flush', lbaSectors: pick(SECTORS - SLOT_SECTORS), lengthSectors, queue: slot % 2,
      }
      if ([...busy].some((b) => b.lbaSectors < o.lbaSectors + lengthSectors && o.lbaSectors < b.lbaSectors + b.lengthSectors)) { await sleep(1); continue }
      busy.add(o)
      const bufferOffset = slot * SLOT_SECTORS * 512, buffer = client.buffer.subarray(bufferOffset, bufferOffset + lengthSectors * 512)
      if (o.kind === 'write') stampSectors(buffer, SEED, index, o.lbaSectors, lengthSectors)
      const flush = o.kind === 'flush', began = daemon
      const status = await client.submit({
        kind: o.kind === 'zero' ? 'writeZeroes' : o.kind, lbaSectors: flush ? 0 : o.lbaSectors, lengthSectors: flush ? 0 : lengthSectors, bufferOffset, queue: slot % 2,
      })
      if (began !== daemon) resumed++
      if (status !== 0) wrong.push(`${o.kind} at ${o.lbaSectors} ended with ${status}`)
      if (!flush) expected.apply(o, index)
      const found = o.kind === 'read' ? expected.check(o.lbaSectors, buffer) : null
      if (found !== null) wrong.push(found)
      busy.delete(o)
    }
  }
  const workers = Array.from({ length: DEPTH }, (_, slot) => one(slot))
  for (let i = 0; i < KILLS; i++) {
    await sleep(50 + pick(400))
    await daemon.kill9()
    daemon = await startBlk(work, `blk-${i}`, args)
    await client.reconnect()
  }
  await sleep(500)
  stop = true
  await Promise.all(workers)
  t.same(wrong.slice(0, 5), [], `${operations} operations`)
  t.ok(resumed > 0, `${resumed} requests began before a kill and ended after it`)
  for (let lba = 0; lba < SECTORS; lba += SLOT_SECTORS) {
    t.equal(await client.submit({ kind: 'read', lbaSectors: lba, lengthSectors: SLOT_SECTORS, bufferOffset: 0 }), 0)
    const found = expected.check(lba, client.buffer.subarray(0, SLOT_SECTORS * 512))
    if (found !== null) t.fail(found)
  }
  await client.close()
})
