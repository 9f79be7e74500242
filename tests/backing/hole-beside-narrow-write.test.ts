/**
 * On a device with 4 KiB sectors a write of one 512-byte sector is a read, a change and a write of its whole block. A
 * hole that was punched beside it in between must not come back. Found by the crash rig: a failed probe made it see
 * such a device.
 */
import t from 'tap'
import { openBacking } from '../../lib/backing/open.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { MemoryRing } from '../../fixtures/crash/memory-ring.js'
import { Timeline, drive, turn } from '../../fixtures/crash/timeline.js'
import { Random } from '../../fixtures/fuzz/random.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BLOCK = 4096, SECTOR = 512, SEEDS = 24

t.test('whatever ends first', async (t) => {
  const work = new Workspace('hole'), memory = new AlignedMemory(BLOCK)
  t.teardown(async () => {
    memory.free()
    await work.close()
  })
  const wrong: number[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const timeline = new Timeline(), ring = new MemoryRing(timeline), random = new Random(seed)
    // O_DIRECT of less than a block is refused, as there.
    ring.intrude = (_file, kind) => kind === 'read' ? -22 : 0
    const opening = openBacking(ring, { source: work.image(`disk${seed}`, 16 * BLOCK), readOnly: false, danger: null, runDirectory: '', settleMs: 0, warn: () => undefined })
    const { backing } = await drive(timeline, random, 'opening', opening)
    ring.intrude = () => 0
    t.equal(backing.alignmentBytes, BLOCK)
    memory.bytes.fill(0xaa)
    await drive(timeline, random, 'filling', operation((target) => backing.write(memory.address, BLOCK, 0, false, target, 0)))
    memory.bytes.fill(1, 0, SECTOR)
    const both = Promise.all([
      operation((target) => backing.write(memory.address, SECTOR, SECTOR, false, target, 0)),
      operation((target) => backing.zero(2 * SECTOR, SECTOR, true, target, 0)),
    ])
    await turn()
    await drive(timeline, random, 'both', both)
    const block = ring.disks.get(`disk${seed}`)!.content.subarray(0, BLOCK)
    const expected = new Uint8Array(BLOCK).fill(0xaa).fill(1, SECTOR, 2 * SECTOR).fill(0, 2 * SECTOR, 3 * SECTOR)
    if (Buffer.compare(block, expected) !== 0) wrong.push(seed)
    backing.close()
    ring.close()
  }
  t.same(wrong, [], 'no seed loses the hole')
})
