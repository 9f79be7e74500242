/** Every log is lost at once, in the middle of a cut: what the image is worth then is what `order` promises. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { holdfast } from '../cli/holdfast.js'
import { slotPaths } from '../../lib/journal/file-slots.js'
import { isPending, newestJournal } from '../../lib/journal/recovery.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { lab } from './lab.js'

/** Not neighbours, so that a cut is many writes. */
const SECTORS = 256, STRIDE = 16, ROUNDS = 3
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

/** Each round overwrites all sectors in an order of its own, so that a sorted mixture of two cuts is no prefix of it. */
function permutation(round: number): number[] {
  const order = Array.from({ length: SECTORS }, (_, i) => i)
  let x = (seed * 31 + round * 7919) % 2147483647 || 1
  for (let i = SECTORS - 1; i > 0; i--) {
    x = (x * 48271) % 2147483647
    const k = x % (i + 1)
    ;[order[i], order[k]] = [order[k]!, order[i]!]
  }
  return order
}

/** How many writes the image has, if it is the disk after exactly so many; else null. */
function prefixOf(image: Buffer): number | null {
  const found = Array.from({ length: SECTORS }, (_, sector) => image.readUInt32LE(sector * STRIDE * 512))
  const newest = Math.max(...found)
  const expected = new Array<number>(SECTORS).fill(0)
  for (let write = 1; write <= newest; write++) {
    const index = write - 1
    expected[permutation(Math.floor(index / SECTORS))[index % SECTORS]!] = write
  }
  return found.every((write, sector) => write === expected[sector]) ? newest : null
}

for (let round = 0; round < ROUNDS; round++) t.test(`order = "journal", all regions gone, round ${round} (SEED=${seed})`, async (t) => {
  const { work, cluster, image, held } = await lab(t, 'loss', SECTORS * STRIDE * 512, {
    hosts: ['a'], copies: 0, volume: 'destage_delay = "20ms"\norder = "journal"',
    extra: '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nwrite_delay = "20ms"\nflush_delay = "5ms"\n',
  })
  const pending = (): boolean => isPending(newestJournal(slotPaths(image).filter((path) => existsSync(path))))
  let written = 0
  // The moment in which a cut is being applied may be over before the process has died.
  for (let attempt = 0; attempt < 8 && (attempt === 0 || !pending()); attempt++) {
    await cluster.start()
    const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: 512 })
    let over = false
    const killed = sleep(300 + ((seed + round * 311) % 400)).then(() => until('a cut to be applied', 10_000, pending))
      .then(() => cluster.host('a').kill9()).then(() => { over = true })
    while (!over) {
      const sector = permutation(Math.floor(written / SECTORS))[written % SECTORS]!
      new DataView(client.buffer.buffer, client.buffer.byteOffset).setUint32(0, written + 1, true)
      if (await client.submit({ kind: 'write', lbaSectors: sector * STRIDE, lengthSectors: 1, bufferOffset: 0 }).catch(() => -1) !== 0) break
      written++
    }
    await killed
  }
  rmSync(work.file('a.region'))
  rmSync(join(work.file('.'), '.holdfast'), { recursive: true })
  const alone = prefixOf(readFileSync(held))
  const refused = await holdfast('serve', '--config', cluster.host('a').config)
  t.equal(refused.code, 65)
  t.match(refused.stderr, /has a journal with a cut that may not be on it .* its claim is gone.*holdfast journal apply .*holdfast journal discard/s)
  const shown = await holdfast('journal', 'show', held, '--json')
  const applied = await holdfast('journal', 'apply', image)
  t.equal(applied.code, 0, applied.stderr)
  const prefix = prefixOf(readFileSync(held))
  t.ok(prefix !== null && prefix <= written + 1, `the disk as of write ${prefix} of ${written}; without its journal the image was ${alone === null ? 'a mixture' : `as of ${alone}`}`)
  t.match(JSON.parse(shown.stdout), { pending: true })
  await cluster.host('a').start()
  t.match(await cluster.host('a').volume('db01'), { phase: 'standby' }, 'and it is served again')
})
