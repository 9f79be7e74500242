/**
 * Writes of single sectors on a device with blocks of 4 KiB, each begun when another one is heard of: reads and writes of one
 * block are never mixed. Found by the cluster simulator, once cuts were written without a promise for each write.
 */
import t from 'tap'
import { openBacking } from '../../lib/backing/open.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { MemoryRing } from '../../fixtures/crash/memory-ring.js'
import { Timeline, drive } from '../../fixtures/crash/timeline.js'
import { Random } from '../../fixtures/fuzz/random.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BLOCK = 4096, SECTOR = 512, WRITES = 8, AT_ONCE = 3, SEEDS = 24

t.test('none is lost, whatever ends first', async (t) => {
  const work = new Workspace('narrow'), memory = new AlignedMemory(WRITES * SECTOR), wrong: number[] = []
  for (let i = 0; i < WRITES; i++) memory.bytes.fill(i + 1, i * SECTOR, (i + 1) * SECTOR)
  t.teardown(async () => {
    memory.free()
    await work.close()
  })
  for (let seed = 1; seed <= SEEDS; seed++) {
    const timeline = new Timeline(), ring = new MemoryRing(timeline), random = new Random(seed)
    // O_DIRECT of less than a block is refused, as there.
    ring.intrude = (_file, kind) => kind === 'read' ? -22 : 0
    const { backing } = await drive(timeline, random, 'opening',
      openBacking(ring, { source: work.image(`disk${seed}`, 16 * BLOCK), readOnly: false, danger: null, runDirectory: '', settleMs: 0, warn: () => undefined }))
    ring.intrude = () => 0
    t.equal(backing.alignmentBytes, BLOCK)
    await drive(timeline, random, 'the writes', new Promise<void>((resolve) => {
      let begun = 0, left = WRITES
      const target = {
        complete: (): void => {
          if (--left === 0) resolve()
          begin()
        },
      }
      const begin = (): void => {
        if (begun === WRITES) return
        const i = begun++
        backing.write(memory.address + i * SECTOR, SECTOR, i * SECTOR, false, target, i)
      }
      for (let i = 0; i < AT_ONCE; i++) begin()
    }))
    if (Buffer.compare(ring.disks.get(`disk${seed}`)!.content.subarray(0, BLOCK), memory.bytes) !== 0) wrong.push(seed)
    backing.close()
    ring.close()
  }
  t.same(wrong, [], 'no seed loses a sector')
})
