/** A real ext4's stream through the volume: after any crash its journal is replayed, and nothing is wrong with it. */
import t from 'tap'
import { ext4Problem, wholeFiles } from '../../fixtures/crash/e2fsck.js'
import { Ext4Crash } from '../../fixtures/crash/ext4-crash.js'
import { ext4Stream } from '../../fixtures/crash/ext4-stream.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'

const SEED = Number(process.env['SEED'] ?? 5), POINTS = Number(process.env['POINTS'] ?? 4)
const skip = requires('qemu-system-x86_64', 'guest', 'e2fsck', 'debugfs')

for (const order of ['journal', 'flush'] as const) t.test(`${POINTS} crashes under ext4, by ${order} (SEED=${SEED})`, { skip, timeout: 180_000 }, async (t) => {
  const work = new Workspace('ext4')
  t.teardown(() => work.close())
  const stream = await ext4Stream()
  const { recovered, images, problems } = await new Ext4Crash(work.path, stream, SEED, order).run(POINTS)
  t.same(problems, [])
  t.equal(recovered, POINTS)
  t.ok(images > 0, `${images} times the image alone`)
})

t.test('the check finds what is wrong', { skip, timeout: 120_000 }, async (t) => {
  const work = new Workspace('ext4')
  t.teardown(() => work.close())
  const { requests, sectors } = await ext4Stream(), folder = work.file('fs')
  const image = (skipped: number): Uint8Array => {
    const bytes = new Uint8Array(sectors * 512)
    for (const [i, { kind, lba, sectors: length, data }] of requests.entries()) {
      if (i === skipped) continue
      if (data !== null) bytes.set(data, lba * 512)
      else if (kind !== REQUEST_KIND.flush) bytes.fill(0, lba * 512, (lba + length) * 512)
    }
    return bytes
  }
  t.equal(ext4Problem(folder, image(-1)), null, 'the whole stream is a file system')
  t.equal(wholeFiles(folder), 9)
  // Writes of the last unmount are its metadata in their places.
  const last = requests.map(({ data }, i) => (data === null ? -1 : i)).filter((i) => i >= 0).slice(-16)
  const found = last.filter((i) => ext4Problem(folder, image(i)) !== null)
  t.ok(found.length > 0, `${found.length} of ${last.length} lost writes are noticed`)
})
