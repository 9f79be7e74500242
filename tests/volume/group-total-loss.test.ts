/**
 * All logs of a VM with two disks are lost at once. Its guest writes a number to the first disk, and when that is
 * acknowledged to the second: at any one instant the second disk has the first one's number, or the one before.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { sleep } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'
import { lab } from './lab.js'

const ROUNDS = 4, SECTORS = 64
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

for (let round = 0; round < ROUNDS; round++) t.test(`round ${round} (SEED=${seed})`, async (t) => {
  const slow = 'write_delay = "15ms"\nflush_delay = "5ms"\n'
  // Cuts of their own would be at different instants.
  const { work, cluster, image } = await lab(t, 'group-loss', 4 * 1024 * 1024, { hosts: ['a'], copies: 0, volume: 'domain = "vm17"\ndestage_delay = "70ms"', extra: '' })
  const second = work.image('second.raw', 4 * 1024 * 1024), socket = work.file('second.sock')
  const a = cluster.host('a')
  a.append(`[[volume]]\nname = "db02"\nbacking = "${second}"\nsocket = "${socket}"\ncopies = 0\ndomain = "vm17"\ndestage_delay = "50ms"\n` +
    `[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\n${slow}[danger_zone.backing.db02]\n${slow}`)
  await a.start()
  const clients = [await VhostClient.connect(cluster.socket('a'), { bufferBytes: 512 }), await VhostClient.connect(socket, { bufferBytes: 512 })]
  let number = 0, over = false
  const killed = sleep(700 + ((seed + round * 311) % 900)).then(() => a.kill9()).then(() => { over = true })
  writing: while (!over) {
    number++
    for (const client of clients) {
      new DataView(client.buffer.buffer, client.buffer.byteOffset).setUint32(0, number, true)
      if (await client.submit({ kind: 'write', lbaSectors: (number % SECTORS) * 16, lengthSectors: 1, bufferOffset: 0 }).catch(() => -1) !== 0) break writing
    }
  }
  await killed
  t.ok(number > 50, `${number} numbers`)
  t.notMatch(a.child!.output, /one by one/)
  rmSync(work.file('a.region'))
  rmSync(join(work.file('.'), '.holdfast'), { recursive: true })
  const applied = await holdfast('journal', 'apply', image, second)
  t.equal(applied.code, 0, applied.stderr)
  const [x, y] = [image, second].map((path) => {
    const bytes = readFileSync(`${path}.holdfast`)
    return Math.max(...Array.from({ length: SECTORS }, (_, sector) => bytes.readUInt32LE(sector * 16 * 512)))
  }) as [number, number]
  t.ok(x === y || x === y + 1, `the disks are as of ${x} and ${y}, of ${number} (${applied.stdout.trim()})`)
})
