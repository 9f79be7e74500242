import { spawn } from 'node:child_process'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { load, measuredCluster } from '../metrics/measured-cluster.js'
import { LAUNCHER, holdfast } from './holdfast.js'

interface Line { readonly host: string; readonly seconds: number; readonly volumes: readonly { readonly name: string; readonly perSecond: { readonly write: number }; readonly latencies: Record<string, { readonly perSecond: number; readonly p99: number | null }>; readonly dirtyBytes: number }[] }

t.test('top', { skip: requires('openssl', 'script'), timeout: 55_000 }, async (t) => {
  const { a, client } = await measuredCluster(t, 'top')
  let loading = true
  const busy = (async () => { for (let i = 0; loading; i++) await load(client, 'write', (i * 100) % 4000, 100) })()

  await t.test('--json: a line for each iteration, whose figures are those of the load', async (t) => {
    const before = (await a.volume('db01')).counters.guestWrites
    const { code, stdout } = await holdfast('top', '--control', a.controlPath, '--json', '-n', '2', '--every', '700ms')
    const after = (await a.volume('db01')).counters.guestWrites
    t.equal(code, EXIT.done)
    const lines = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Line)
    t.equal(lines.length, 2)
    for (const { host, seconds, volumes: [v] } of lines) {
      t.equal(host, 'a')
      t.ok(seconds >= 0.6, `${seconds} s`)
      t.ok(v!.perSecond.write > 0)
      t.ok(v!.latencies['guest write']!.p99! > 0)
      t.ok(v!.dirtyBytes > 0)
    }
    const told = lines.reduce((sum, { seconds, volumes: [v] }) => sum + v!.perSecond.write * seconds, 0)
    t.ok(told > 0 && Math.round(told) <= after - before, `${told} of ${after - before}: none is counted twice`)
  })

  await t.test('plain where there is no terminal', async (t) => {
    const { code, stdout } = await holdfast('top', '--control', a.controlPath, '-n', '1', '--every', '250ms')
    t.equal(code, EXIT.done)
    t.match(stdout, /^a {3}region .+\n\nVOLUME +STATE .+\ndb01 +serving .+\n\n$/)
    t.notMatch(stdout, '\x1b')
  })

  await t.test('at a terminal: redrawn in place until q, and the screen is left as it was', async (t) => {
    const child = spawn('script', ['-qfec', `${LAUNCHER} top --control ${a.controlPath} --every 250ms`, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, TERM: 'xterm' } })
    t.teardown(() => child.kill('SIGKILL'))
    let shown = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { shown += text })
    await until('three screens', 15_000, () => shown.split('\x1b[Ha   region').length > 3)
    t.ok(shown.startsWith('\x1b[?1049h'))
    child.stdin.write('\x1b[A')
    await sleep(300)
    t.equal(child.exitCode, null, 'an arrow key does not end it')
    child.stdin.write('q')
    t.equal(await new Promise((resolve) => child.once('exit', resolve)), 0)
    t.match(shown, /\x1b\[\?25h\x1b\[\?1049l\s*$/)
  })

  loading = false
  await busy
  t.match(await holdfast('top', '--control', a.controlPath, '--every', '10ms'), { code: EXIT.usage, stderr: 'holdfast: --every must be from 250ms to 1h\n' })
  await a.kill9()
  t.match(await holdfast('top', '--control', a.controlPath, '-n', '1'), { code: EXIT.unreachable, stderr: /no daemon answers/ })
})
