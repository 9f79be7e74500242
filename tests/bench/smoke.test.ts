/** The benchmark itself, as short as it can be: one row, one round of a second, with our own client. What it measures does not matter here. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { BenchFile } from '../../fixtures/bench/results-file.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { ROOT, Workspace } from '../../fixtures/lab/workspace.js'

const run = promisify(execFile), MAIN = join(ROOT, 'dist/fixtures/bench/main.js')

t.test('one row of the benchmark', { skip: requires('qemu-storage-daemon') }, async (t) => {
  const work = new Workspace('smoke'), out = work.file('bench.json')
  t.teardown(() => work.close())
  const { stdout } = await run(process.execPath, ['--enable-source-maps', MAIN, '--small', '--rounds', '1', '--seconds', '1', '--rows', 'flush-1', '--out', out],
    { env: { ...process.env, LIBBLKIO_CLIENT: '' } })
  t.match(stdout, /one 4 KiB write, then FLUSH +Holdfast +\d+ +qsd \w+ +\d+ +[\d.]+x +1\.00x/)
  const { rows } = JSON.parse(readFileSync(out, 'utf8')) as BenchFile
  t.match(rows, [{ id: 'flush-1', client: 'own client', rounds: 1, error: null }])
  const { Holdfast: mine } = rows![0]!.figures
  t.ok(mine!.iops! > 0 && mine!.p50Us! <= mine!.p99Us! && mine!.cpuUs! > 0 && mine!.rssMiB! > 10, 'every figure is there')
})

t.test('a word that no row has', async (t) => {
  const { code, stderr } = await run(process.execPath, [MAIN, '--rows', 'nonsense']).then(() => ({ code: 0, stderr: '' }), (e: { code: number; stderr: string }) => e)
  t.equal(code, 64)
  t.match(stderr, /no row begins with "nonsense"; rows are write4k-1, /)
})
