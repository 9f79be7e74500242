import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { holdfast, start, workDirectory } from './holdfast.js'

t.test('what is missing or contradictory', async (t) => {
  for (const [args, sentence] of [
    [['--blk-file', 'x'], 'give either --socket-path PATH or --fd NUMBER'],
    [['--blk-file', 'x', '--socket-path', 's', '--fd', '3'], 'give either --socket-path PATH or --fd NUMBER'],
    [['--socket-path', 's'], '--blk-file PATH is missing: the raw image or block device to serve (or --blockdev JSON)'],
    [['--socket-path', 's', '--blk-file', 'x', '--cache-size', '1GiB'], '--cache-size needs --cache PATH'],
  ] as const) t.same(await holdfast('blk', ...args), { code: EXIT.usage, stdout: '', stderr: `holdfast: ${sentence}\n` })
})

t.test('one volume in the foreground: says how it serves, and ends cleanly on SIGTERM', async (t) => {
  const directory = workDirectory(t)
  const image = join(directory, 'vm1.raw'), socket = join(directory, 'vm1.sock'), cache = join(directory, 'region')
  writeFileSync(image, '')
  truncateSync(image, 2 ** 20)
  const through = start(t, ['blk', '--socket-path', socket, '--blk-file', image], directory)
  await through.says(`holdfast: serving ${image} on ${socket}, policy bypass: no --cache was given`)
  t.ok(existsSync(socket))
  const second = await holdfast('blk', '--socket-path', `${socket}2`, '--blk-file', image)
  t.same(second, { code: EXIT.unsafe, stdout: '', stderr: `holdfast: ${image} is in use by another program (its image lock is taken); stop that program first\n` })
  t.equal((await through.stop()).code, EXIT.done)
  t.notOk(existsSync(socket))

  const cached = start(t, ['blk', '--socket-path', socket, '--blk-file', 'vm1.raw', '--cache', 'region', '--cache-size', '12MiB'], directory)
  await cached.says(`holdfast: serving ${image} on ${socket}, policy write-back without copies`)
  t.equal((await cached.stop()).code, EXIT.done)
  t.ok(existsSync(cache), 'the region stays')
  t.ok(existsSync(image), 'blk keeps the image\'s name')
})

t.test('an image or a region that cannot be used', async (t) => {
  const directory = workDirectory(t)
  const image = join(directory, 'vm1.raw'), socket = join(directory, 'vm1.sock')
  t.match(await holdfast('blk', '--socket-path', socket, '--blk-file', image), { code: EXIT.config, stderr: `holdfast: ${image} cannot be opened: there is no such file\n` })
  t.match(await holdfast('blk', '--socket-path', socket, '--blk-file', directory), { code: EXIT.config })
  writeFileSync(image, '')
  truncateSync(image, 2 ** 20)
  const cache = join(directory, 'region')
  t.match(await holdfast('blk', '--socket-path', socket, '--blk-file', image, '--cache', cache), { code: EXIT.config, stderr: /^holdfast: region .* does not exist and no size is given; set region.size \(or --cache-size\)/ })
  t.match(await holdfast('blk', '--socket-path', socket, '--blk-file', image, '--cache', cache, '--cache-size', '1MiB'), { code: EXIT.config, stderr: /is smaller than its superblocks/ })
  t.notOk(existsSync(cache))
  t.match(await holdfast('blk', '--socket-path', join(directory, 'none/vm1.sock'), '--blk-file', image), { code: EXIT.config, stderr: /^holdfast: cannot listen on / })
})
