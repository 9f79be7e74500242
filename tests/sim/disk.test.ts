/** The simulated disk: what a loss of power takes, and what it never takes. */
import t from 'tap'
import { Random } from '../../fixtures/fuzz/random.js'
import { SimDisk } from '../../fixtures/sim/disk.js'

const SECTOR = 512
const full = (value: number): Uint8Array => new Uint8Array(SECTOR).fill(value)

/** Writes and completes. */
function write(disk: SimDisk, sector: number, value: number, durable = false): void {
  t.ok(disk.end(disk.begin(sector * SECTOR, SECTOR, full(value), durable)))
}

t.test('what was flushed stays, what was not goes', async (t) => {
  const disk = new SimDisk(new Uint8Array(4 * SECTOR))
  write(disk, 0, 1)
  disk.endFlush(disk.beginFlush())
  write(disk, 0, 2)
  write(disk, 1, 3)
  t.notOk(disk.isCertain(0, SECTOR))
  disk.losePower('none', new Random(1))
  t.same([disk.content[0], disk.content[SECTOR]], [1, 0])
  t.ok(disk.isCertain(0, 4 * SECTOR))
})

t.test('a durable write over one that is taken back stays', async (t) => {
  const disk = new SimDisk(new Uint8Array(4 * SECTOR))
  write(disk, 0, 1)
  write(disk, 0, 2, true)
  disk.losePower('none', new Random(1))
  t.equal(disk.content[0], 2)
})

t.test('a flush vouches for what was complete when it began', async (t) => {
  const disk = new SimDisk(new Uint8Array(4 * SECTOR))
  write(disk, 0, 1)
  const covered = disk.beginFlush()
  write(disk, 0, 2)
  disk.endFlush(covered)
  disk.losePower('none', new Random(1))
  t.equal(disk.content[0], 1)
})

t.test('a write under way when the power goes never ends', async (t) => {
  const disk = new SimDisk(new Uint8Array(4 * SECTOR)), under = disk.begin(0, SECTOR, full(9), false)
  disk.losePower('none', new Random(1))
  t.notOk(disk.end(under))
  t.equal(disk.content[0], 0)
  t.equal(disk.powerLosses, 1)
})
