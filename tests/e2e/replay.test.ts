/** Each recording through Holdfast, and through plain qemu-io onto a raw file: after a flush both are the same, byte for byte. */
import { spawnSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HOLDFAST, startBlk } from '../../fixtures/lab/daemon.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { ROOT, Workspace } from '../../fixtures/lab/workspace.js'
import { toQemuIo } from '../../lib/replay/qemu-io.js'
import { readRecording } from '../../lib/replay/read-recording.js'

const skip = requires('qemu-io', 'qemu-img')

for (const name of ['boot', 'database', 'unaligned']) {
  t.test(`${name}.trace leaves the image that qemu-io leaves`, { skip, timeout: 50_000 }, async (t) => {
    const work = new Workspace('replay')
    t.teardown(() => work.close())
    const path = join(ROOT, `fixtures/traces/${name}.trace`), trace = readRecording(path)
    const image = work.file('holdfast.raw'), plain = work.file('plain.raw')
    for (const file of [image, plain]) {
      writeFileSync(file, '')
      truncateSync(file, trace.capacitySectors * 512)
    }
    const daemon = await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '128MiB'])
    const replay = spawnSync(HOLDFAST, ['replay', path, '--socket-path', work.file('s'), '--fresh', '--queues', '2', '--json'], { encoding: 'utf8' })
    t.equal(replay.status, 0, replay.stderr)
    t.match(JSON.parse(replay.stdout), { operations: trace.operations.length, mismatchCount: 0 })
    t.equal(await daemon.stop(40_000), 0, 'everything is in the file')

    const commands = toQemuIo(trace, work.file('data'))
    const io = spawnSync('qemu-io', ['-f', 'raw', '-d', 'unmap', plain], { encoding: 'utf8', input: commands, maxBuffer: 64 * 1024 * 1024 })
    t.equal(io.status, 0, io.stderr)
    t.equal(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, plain], { encoding: 'utf8' }).stdout, 'Images are identical.\n')
    const data = readFileSync(plain)
    data[0] = data[0]! ^ 1
    writeFileSync(plain, data)
    t.equal(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, plain]).status, 1, 'one bit is a difference')
  })
}

t.test('a wrong read is found, told and ends with code 65', { skip }, async (t) => {
  const work = new Workspace('wrong')
  t.teardown(() => work.close())
  const image = work.file('disk.raw')
  writeFileSync(image, Buffer.alloc(2 * 1024 * 1024, 3))
  writeFileSync(work.file('t'), '# holdfast-trace 1\n# capacity 4096\n0 w 0 8\n1 r 0 16\n')
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image])
  const wrong = spawnSync(HOLDFAST, ['replay', work.file('t'), '--socket-path', work.file('s'), '--fresh', '--json'], { encoding: 'utf8' })
  t.equal(wrong.status, 65)
  t.match(wrong.stderr, /^holdfast: 1 reads returned wrong data: operation 2: sector 8 should hold zeros and holds bytes that name/)
  const small = spawnSync(HOLDFAST, ['replay', join(ROOT, 'fixtures/traces/boot.trace'), '--socket-path', work.file('s')], { encoding: 'utf8' })
  t.equal(small.status, 64)
  t.match(small.stderr, /has 4096 sectors and the recording needs 131072; --fit brings it down/)
  const both = spawnSync(HOLDFAST, ['replay', work.file('t')], { encoding: 'utf8' })
  t.equal(both.status, 64)
})
