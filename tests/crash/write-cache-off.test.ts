/** A guest that switches its write cache off is told of no write that a power cut takes, whatever came before it. */
import t from 'tap'
import { openBacking } from '../../lib/backing/open.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { BypassVolume } from '../../lib/volume/bypass.js'
import { Guest } from '../../fixtures/crash/guest.js'
import { GuestHistory, identify } from '../../fixtures/crash/history.js'
import { checkPrefix } from '../../fixtures/crash/legal.js'
import { MemoryRing } from '../../fixtures/crash/memory-ring.js'
import { Timeline, turn } from '../../fixtures/crash/timeline.js'
import { Random } from '../../fixtures/fuzz/random.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { CrashLab, powerCut, readIds, runDry } from './crash-lab.js'

t.test('a write behind ones that nobody flushed', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest } = machine
  for (let i = 0; i < 3; i++) guest.ask(REQUEST_KIND.write, i * 8, 8)
  t.ok(await runDry(machine))
  guest.ask(REQUEST_KIND.write, 100, 8)
  guest.setWriteCache(false)
  guest.ask(REQUEST_KIND.write, 200, 8)
  t.ok(await runDry(machine), 'all were acknowledged')
  const after = await lab.machine(powerCut(machine))
  t.match(checkPrefix(guest.history, await readIds(after), 5, 5), { position: guest.history.end }, 'the last one is there, and so is all that it stands on')
})

t.test('each write after it is there when it was acknowledged', async (t) => {
  const lab = new CrashLab(t), machine = await lab.machine(), { guest } = machine
  guest.ask(REQUEST_KIND.write, 0, 8)
  guest.setWriteCache(false)
  for (let i = 1; i < 4; i++) {
    guest.ask(i === 2 ? REQUEST_KIND.writeZeroes : REQUEST_KIND.write, i * 4, 8)
    t.ok(await runDry(machine))
    const after = await lab.machine(powerCut(machine))
    t.match(checkPrefix(guest.history, await readIds(after), i + 1, i + 1), { position: guest.history.end }, `write ${i}`)
  }
})

t.test('a volume without a cache: writes, zeroes and discards', async (t) => {
  const work = new Workspace('bypass'), timeline = new Timeline(), ring = new MemoryRing(timeline), random = new Random(1), sectors = 2048
  const opening = openBacking(ring, { source: work.image('disk.raw', sectors * 512), readOnly: false, danger: null, runDirectory: '', settleMs: 0, warn: () => undefined })
  await turn()
  while (timeline.endOne(random)) await turn()
  const { backing } = await opening, disk = ring.disks.get('disk.raw')!
  const volume = new BypassVolume(backing, { capacitySectors: sectors, blockSizeBytes: 512, readOnly: false, serial: '', writeCache: true, discards: true })
  const guest = new Guest(volume, timeline, random, new GuestHistory(new Int32Array(sectors)), 1), { history } = guest
  guest.setWriteCache(false)
  for (const kind of [REQUEST_KIND.write, REQUEST_KIND.writeZeroes, REQUEST_KIND.write, REQUEST_KIND.discard]) {
    guest.ask(kind, 8 * history.writes.length, 16)
    while (guest.inFlight > 0) { timeline.endOne(random); await turn() }
    const medium = disk.mediumAt(timeline.now, () => false)
    t.match(checkPrefix(history, identify(medium), history.writes.length, history.writes.length), { position: history.end }, `request ${history.writes.length} is on the medium`)
  }
  backing.close()
  ring.close()
  guest.free()
  await work.close()
})
