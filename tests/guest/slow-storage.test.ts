/** The slow SAN: right bytes, errors when told, a name that can be changed, and nothing left behind. */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync, renameSync, writeSync } from 'node:fs'
import t from 'tap'
import { requires } from '../../fixtures/lab/requirements.js'
import { SlowStorage } from '../../fixtures/lab/slow-storage.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

t.test('slow storage', { skip: requires('nbdkit', 'nbdfuse', '/dev/fuse') }, async (t) => {
  const work = new Workspace('san')
  t.teardown(() => work.close())
  const storage = new SlowStorage(work, work.file('shared'), 8 * 1024 * 1024)
  await storage.start(1, 1)

  const block = Buffer.alloc(4096, 0x5a), back = Buffer.alloc(4096)
  const fd = openSync(storage.image, 'rs+')
  writeSync(fd, block, 0, 4096, 65536)
  const base = openSync(storage.base, 'r')
  readSync(base, back, 0, 4096, 65536)
  t.same(back, block, 'a write reaches the base image')

  storage.fail()
  t.throws(() => writeSync(fd, block, 0, 4096, 131072), { code: 'EIO' }, 'writes fail when told')
  readSync(fd, back, 0, 4096, 65536)
  t.same(back, block, 'reads go on meanwhile')
  storage.heal()
  t.equal(writeSync(fd, block, 0, 4096, 131072), 4096, 'and heal')
  closeSync(fd)
  closeSync(base)

  renameSync(storage.image, `${storage.image}.holdfast`)
  t.equal(readFileSync(`${storage.image}.holdfast`).length, 8 * 1024 * 1024, 'the image can be renamed')

  await work.close()
  t.notMatch(readFileSync('/proc/mounts', 'utf8'), work.path, 'no mount is left')
  t.notMatch(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }), work.path, 'no process is left')
})
