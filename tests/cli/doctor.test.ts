/** `holdfast doctor` as a person or a script runs it. */
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import type { Finding } from '../../lib/doctor/finding.js'
import { finds, written } from '../doctor/lab.js'
import { LAUNCHER, Running, holdfast, start, workDirectory } from './holdfast.js'

t.test('a host where all is well, before its first start and while it runs; nothing is left behind', async (t) => {
  const directory = workDirectory(t), config = written(directory), before = readdirSync(directory)
  const { code, stdout, stderr } = await holdfast('doctor', '--config', config)
  t.same([code, stderr], [EXIT.done, ''])
  for (const line of [/^ok {4}kernel {9}io_uring works, on Linux \d/m, /^ok {4}daemon {9}not running$/m, /^ok {4}region {9}.*\/region will be created with 64 MiB; .* are free$/m,
    /^ok {4}region {9}direct I\/O in blocks of (512|4096) bytes$/m, /^\S+ +region {9}a durable 4 KiB write takes \d+\.\d\d ms \(median of 64, worst/m,
    /^ok {4}volume db01 {4}.*\/db01.raw, 4 MiB, direct I\/O/m, /^ok {4}volume db01 {4}claims in .*\/.holdfast: of two changes at once one is won and one is lost$/m]) t.match(stdout, line)
  t.same(readdirSync(directory), before)
  const daemon = start(t, ['serve', '--config', config], directory)
  await daemon.says('holdfast: host a serves db01')
  const there = readdirSync(directory), running = await holdfast('doctor', '--config', config)
  t.match(running, { code: EXIT.done, stdout: /^ok {4}daemon {9}version [\d.]+ runs and answers on /m })
  t.match(running.stdout, /^ok {4}region {9}.*\/region, 64 MiB, of host a, in use by a running daemon$/m)
  t.same(readdirSync(directory), there)
  const other = join(directory, 'other.toml')
  copyFileSync(written(directory, { region: 'path = "region2"\nsize = "64MiB"\nsegment_size = "8MiB"' }), other)
  await finds(t, other, 'daemon', /answers host a with region .*\/region, not this configuration's/, /a host.control_socket of its own/)
})

t.test('a configuration that is broken, or not there', async (t) => {
  const directory = workDirectory(t), config = written(directory, { volume: 'copie = 2\norder = "never"\n' })
  const { code, stdout } = await holdfast('doctor', '--config', config, '--json'), { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] }
  t.same([code, ok], [EXIT.config, false])
  t.match(findings.filter(({ about }) => about === 'configuration'), [
    { level: 'fail', text: /volume\[db01\].order = "never" must be "journal" or/ }, { level: 'fail', text: /copie is not a key here/, remedy: /did you mean copies\?/ },
  ])
  t.match(findings[0], { about: 'kernel', level: 'ok' }, 'the host is looked at all the same')
  const none = await holdfast('doctor', '--config', join(directory, 'none.toml'))
  t.match(none, { code: EXIT.config, stdout: /^fail {2}configuration {2}.*none.toml cannot be read: there is no such file\n {21}-> docs\/configuration.md/m, stderr: /^holdfast: 1 check failed; / })
})

t.test('no io_uring: a seccomp filter, as a container has one', async (t) => {
  const config = written(workDirectory(t)), wrapper = fileURLToPath(new URL('../../fixtures/lab/without-io-uring.js', import.meta.url))
  const { code, stdout } = await new Running([wrapper, LAUNCHER, 'doctor', '--config', config], { launcher: process.execPath }).ended
  t.equal(code, EXIT.config)
  t.equal(stdout.split('\n').filter((line) => line.startsWith('fail')).length, 1, 'said once')
  t.match(stdout, /^fail {2}kernel {9}io_uring cannot be used on Linux \d\S+: .*: Operation not permitted\n {21}-> .*seccomp filter/m)
})

t.test('storage that is broken on purpose is said to be', async (t) => {
  const config = written(workDirectory(t), { volume: '[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nread_delay = "1ms"\n' })
  t.match(await holdfast('doctor', '--config', config), { code: EXIT.done, stdout: /^warn {2}volume db01 +danger_zone makes its storage slow or broken on purpose$/m })
})
