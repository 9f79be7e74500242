/** Ceph PWL 42046, its other half: a format that is newer than the program is refused, and nothing is written. */
import t from 'tap'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { crc } from '../../lib/io/crc.js'
import { RECORD_MAGIC } from '../../lib/core/record.js'
import { REGION, type Remains } from '../../fixtures/crash/machine.js'
import { CrashLab, remainsNow, runDry } from './crash-lab.js'

const SUPERBLOCK_MAGIC = 0x53464448, SEGMENT_MAGIC = 0x47464448, BLOCK = 4096

/** Raises the version of every structure with this magic, with a checksum that is right; how many there were. */
function raiseVersions(bytes: Uint8Array, magic: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let raised = 0
  for (let at = 0; at < bytes.length; at += BLOCK) {
    if (view.getUint32(at, true) !== magic) continue
    const length = magic === SUPERBLOCK_MAGIC ? view.getUint32(at + 12, true) : BLOCK
    view.setUint32(at + 4, view.getUint32(at + 4, true) + 1, true)
    view.setUint32(at + 8, 0, true)
    view.setUint32(at + 8, crc(bytes.subarray(at, at + length), 0), true)
    raised++
  }
  return raised
}

for (const [name, magic] of [['superblock', SUPERBLOCK_MAGIC], ['segment header', SEGMENT_MAGIC], ['record', RECORD_MAGIC]] as const) {
  t.test(`a newer ${name}`, async (t) => {
    const lab = new CrashLab(t, { durability: 'write' }), machine = await lab.machine()
    machine.guest.ask(REQUEST_KIND.write, 0, 8)
    t.ok(await runDry(machine))
    const remains: Remains = remainsNow(machine, (disk, at) => ({ medium: disk.mediumAt(at, () => true), cached: [] })), region = remains.files.get(REGION)!.medium
    t.ok(raiseVersions(region, magic) > 0)
    const before = region.slice()
    await t.rejects(lab.machine(remains), { message: /newer (format|release)|run the newer release/ })
    t.ok(Buffer.compare(lab.last.disk(REGION).content, before) === 0, 'nothing was written')
  })
}
