/** `holdfast claims`, and a host whose claims are on a lease volume. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { written } from '../doctor/lab.js'
import { holdfast, start, workDirectory } from './holdfast.js'

t.test('a lease volume is made, shown, and gets another host', async (t) => {
  const path = join(workDirectory(t), 'lease')
  t.match(await holdfast('claims', 'format', path, '--hosts', 'a,b', '--slots', '3', '--volumes', '4'),
    { code: EXIT.done, stdout: `${path}: a lease volume of 2.3 MiB for 4 volumes; 2 of 3 slots: a, b\n` })
  t.match(await holdfast('claims', 'add-host', path, 'c', '--json'), { code: EXIT.done, stdout: /"hosts":\["a","b","c"\]/ })
  t.match(JSON.parse((await holdfast('claims', 'show', path, '--json')).stdout), { path, hosts: ['a', 'b', 'c'], slots: 3, volumes: 4 })
  t.match(await holdfast('claims', 'add-host', path, 'd'), { code: EXIT.usage, stderr: /^holdfast: 4 hosts need as many slots, and there are 3\n$/ })
  t.match(await holdfast('claims', 'add-host', path, 'C'), { code: EXIT.usage, stderr: /"C" is no host name/ })
})

t.test('what is not empty is not overwritten, and what is none is said to be none', async (t) => {
  const directory = workDirectory(t), image = join(directory, 'image'), lease = join(directory, 'lease')
  writeFileSync(image, 'data')
  truncateSync(image, 2 ** 20)
  const before = readFileSync(image)
  t.match(await holdfast('claims', 'format', image, '--hosts', 'a'), { code: EXIT.unsafe, stderr: /image is not empty; --force overwrites what is in it \(nothing was changed\)\n$/ })
  t.match(await holdfast('claims', 'show', image), { code: EXIT.usage, stderr: /image is no lease volume; "holdfast claims format" makes one/ })
  t.ok(readFileSync(image).equals(before))
  await holdfast('claims', 'format', lease, '--hosts', 'a', '--volumes', '2', '--slots', '2')
  const made = readFileSync(lease)
  t.match(await holdfast('claims', 'format', lease, '--hosts', 'b'), { code: EXIT.unsafe, stderr: /is a lease volume already, of a; --force makes it anew, and every claim in it is lost/ })
  t.ok(readFileSync(lease).equals(made))
  t.match(await holdfast('claims', 'format', lease, '--hosts', 'b', '--volumes', '2', '--slots', '2', '--force'), { code: EXIT.done, stdout: /slots: b\n$/ })
  t.match(await holdfast('claims', 'format', lease, '--hosts', 'b,b', '--force'), { code: EXIT.usage, stderr: /host b has a slot already/ })
  t.match(await holdfast('claims', 'format', '/dev/holdfast-is-not-there', '--hosts', 'b'), { code: EXIT.config, stderr: /there is no device/ })
})

t.test('a host with its claims there; one without a slot', async (t) => {
  const directory = workDirectory(t), lease = join(directory, 'lease'), config = written(directory, { volume: `claims = "${lease}"\n` })
  await holdfast('claims', 'format', lease, '--hosts', 'b', '--slots', '4', '--volumes', '4')
  t.match(await holdfast('doctor', '--config', config), { code: EXIT.config, stdout: /^fail {2}volume db01 +the lease volume .* has no slot for host a, only for b\n +-> add it: holdfast claims add-host .*lease a$/m })
  t.match(await start(t, ['serve', '--config', config], directory).ended, { code: EXIT.config, stderr: /has no slot for host a, only for b; add it: holdfast claims add-host/ })
  await holdfast('claims', 'add-host', lease, 'a')
  t.match(await holdfast('doctor', '--config', config), { code: EXIT.done, stdout: /^ok {4}volume db01 +claims on the lease volume .*: 2 of 4 slots taken, room for 4 volumes, slot 1 is written and read back$/m })
  for (let nth = 0; nth < 2; nth++) {
    const daemon = start(t, ['serve', '--config', config], directory)
    await daemon.says('holdfast: host a serves db01')
    if (nth === 0) t.match(await holdfast('doctor', '--config', config), { code: EXIT.done, stdout: /claims on the lease volume .*: the daemon here has its slot$/m })
    if (nth === 0) { daemon.child.kill('SIGKILL'); await daemon.ended } else t.match(await daemon.stop(), { code: EXIT.done })
  }
})
