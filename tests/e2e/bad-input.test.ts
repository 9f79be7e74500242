/** What a user gets wrong, or finds wrong: one sentence with what, where and what to do; its exit code; nothing written. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import { HOLDFAST, startBlk } from '../../fixtures/lab/daemon.js'
import { VhostClient } from '../../lib/client/front-end.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const MIB = 1024 * 1024
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

interface Outcome { readonly code: number | null; readonly said: string }

function blk(work: Workspace, args: readonly string[], env: NodeJS.ProcessEnv = {}): Outcome {
  const result = spawnSync('timeout', ['-s', 'KILL', '20', HOLDFAST, 'blk', ...args], { encoding: 'utf8', cwd: work.path, env: { ...process.env, LOG_FORMAT: 'text', ...env } })
  return { code: result.status, said: result.stderr.split('\n').filter((line) => line.startsWith('holdfast: ')).join('\n') }
}

function newImage(work: Workspace): string {
  return work.image('vm1.raw', 64 * MIB)
}

/** Writes something that is only in the region, then dies. */
async function leaveDirty(t: Test, work: Workspace, args: readonly string[]): Promise<void> {
  const daemon = await startBlk(work, 'first', args)
  const client = await VhostClient.connect(work.file('s'))
  client.buffer.fill(7, 0, 65536)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 8, lengthSectors: 128, bufferOffset: 0 }), 0)
  await daemon.kill9()
  await client.abort()
}

t.test('a backing whose size changed', async (t) => {
  const work = new Workspace('size')
  t.teardown(() => work.close())
  const image = newImage(work), args = ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB']
  await leaveDirty(t, work, args)
  const region = sha256(work.file('region'))
  for (const bytes of [96 * MIB, 32 * MIB]) {
    truncateSync(image, bytes)
    const { code, said } = blk(work, args)
    t.equal(code, EXIT.damaged)
    t.match(said, new RegExp(`the backing ${image} has ${bytes} bytes but its claim in .* says ${64 * MIB}; .*Either put back the image of ${64 * MIB} bytes; or move .* away`))
    t.equal(sha256(work.file('region')), region, 'the region is untouched')
  }
})

t.test('an image whose data is in another region', async (t) => {
  const work = new Workspace('other')
  t.teardown(() => work.close())
  const image = newImage(work), args = ['--socket-path', work.file('s'), '--blk-file', image]
  await leaveDirty(t, work, [...args, '--cache', work.file('region'), '--cache-size', '64MiB'])
  for (const wrong of [[], ['--cache', work.file('new'), '--cache-size', '64MiB']]) {
    const before = sha256(image), { code, said } = blk(work, [...args, ...wrong])
    t.equal(code, EXIT.damaged, said)
    t.match(said, /has data that is only in the cache region of its last run.*give the region that was used then/)
    t.equal(sha256(image), before)
    t.notOk(existsSync(work.file('new')), 'no region is made for it')
  }
})

t.test('an image that a living daemon holds', async (t) => {
  const work = new Workspace('held')
  t.teardown(() => work.close())
  const image = newImage(work)
  await startBlk(work, 'first', ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB'])
  const { code, said } = blk(work, ['--socket-path', work.file('s2'), '--blk-file', image, '--cache', work.file('region2'), '--cache-size', '64MiB'])
  t.equal(code, EXIT.unsafe)
  t.match(said, /vm1.raw is in use by another program .*; stop that program first/)
  t.notOk(existsSync(work.file('region2')))
})

t.test('a volume that a living host serves to its guest: another host waits, says why, and takes nothing', async (t) => {
  const work = new Workspace('live')
  t.teardown(() => work.close())
  const cluster = await LabCluster.create(work, { image: newImage(work), hosts: ['a', 'b'], copies: 1, regionSize: '64MiB' })
  await cluster.start()
  const onA = await VhostClient.connect(cluster.socket('a'))
  t.equal(await onA.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  const onB = await VhostClient.connect(cluster.socket('b'))
  const read = onB.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }).catch(() => -1)
  const waiting = await until('b to say why it waits', 10_000, async () => {
    const v = await cluster.host('b').volume('db01')
    return v.reason === null ? null : v
  })
  t.match(waiting.reason, /a/, waiting.reason ?? '')
  t.equal(waiting.phase === 'serving', false)
  t.match(await cluster.host('a').volume('db01'), { phase: 'serving', owner: 'a', epoch: 1 })
  t.equal(await onA.submit({ kind: 'write', lbaSectors: 8, lengthSectors: 8, bufferOffset: 0 }), 0, 'the first guest is not disturbed')
  await onB.abort()
  await read
  await onA.close()
})

t.test('a peer that cannot be reached: the volume is served write-through, with the reason', async (t) => {
  const work = new Workspace('peer')
  t.teardown(() => work.close())
  const cluster = await LabCluster.create(work, { image: newImage(work), hosts: ['a', 'b'], copies: 1, regionSize: '64MiB' })
  await cluster.host('a').start()
  const client = await VhostClient.connect(cluster.socket('a'))
  t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  t.match((await cluster.host('a').volume('db01')).policy, { effective: 'write-through', reason: '0 of 1 copies: b not reachable' })
  t.match(cluster.host('a').child!.output, /b cannot be reached at wss:\/\/127\.0\.0\.1:\d+\/: connect ECONNREFUSED/)
  await client.close()
})

t.test('a kernel without io_uring', { skip: requires('gcc') }, async (t) => {
  const work = new Workspace('uring')
  t.teardown(() => work.close())
  // As the sysctl or a container's filter would answer; neither can be set for one process alone.
  writeFileSync(work.file('no-uring.c'), '#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <stdarg.h>\n' +
    'long syscall(long n, ...) {\n  va_list a; va_start(a, n); long x[6]; for (int i = 0; i < 6; i++) x[i] = va_arg(a, long);\n' +
    '  if (n == 425) { errno = EPERM; return -1; }\n' +
    '  return ((long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"))(n, x[0], x[1], x[2], x[3], x[4], x[5]);\n}\n')
  t.equal(spawnSync('gcc', ['-shared', '-fPIC', '-o', work.file('no-uring.so'), work.file('no-uring.c'), '-ldl']).status, 0)
  const image = newImage(work), before = sha256(image)
  const { code, said } = blk(work, ['--socket-path', work.file('s'), '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB'], { LD_PRELOAD: work.file('no-uring.so') })
  t.equal(code, EXIT.config)
  t.match(said, /^holdfast: io_uring is not available \(.+\); allow it with sysctl kernel.io_uring_disabled=0/)
  t.equal(sha256(image), before)
  t.notOk(existsSync(work.file('region')))
})
