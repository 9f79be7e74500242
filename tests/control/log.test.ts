import { execFile, spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { limits } from '../../lib/limits.js'

const run = promisify(execFile)
const MODULE = new URL('../../lib/control/log.js', import.meta.url).href
const SCRIPT = `import { createLogger } from '${MODULE}'
const log = createLogger(); log.info('up'); const v = log.child('db01'); v.warn('slow "disk"'); v.child('q1').info('ready'); process.kill(process.pid, 'SIGKILL')`

/** What a process that is killed right after its last line has logged. */
async function logged(format: string | undefined): Promise<string> {
  const env = { ...process.env }
  delete env['LOG_FORMAT']
  if (format !== undefined) env['LOG_FORMAT'] = format
  return run(process.execPath, ['--input-type=module', '-e', SCRIPT], { env }).then(
    () => { throw new Error('it was to be killed') }, (error: { stderr: string }) => error.stderr)
}

t.test('JSON when nobody looks: one object a line, with its component, and nothing lost in a crash', async (t) => {
  for (const format of [undefined, 'json']) {
    const lines = (await logged(format)).trimEnd().split('\n')
    t.same(lines.map((line) => { const { time, ...rest } = JSON.parse(line) as Record<string, unknown>; return [typeof time, rest] }), [
      ['string', { level: 'info', msg: 'up' }],
      ['string', { level: 'warn', component: 'db01', msg: 'slow "disk"' }],
      ['string', { level: 'info', component: 'db01 q1', msg: 'ready' }],
    ])
  }
})

t.test('text for people', async (t) => {
  t.match(await logged('text'), /^[\d:.]{12} {3}up\n[\d:.]{12} ! db01: slow "disk"\n[\d:.]{12} {3}db01 q1: ready\n$/)
})

t.test('the systemd journal gets the priority of each line', async (t) => {
  const file = join(t.testdir({ journal: '' }), 'journal'), fd = openSync(file, 'a')
  t.teardown(() => closeSync(fd))
  const { dev, ino } = fstatSync(fd), script = SCRIPT.replace(/process\.kill.*$/, '')
  for (const [stream, lines] of [
    [`${dev}:${ino}`, [/^<6>\{"level":"info",.*"msg":"up"\}$/, /^<4>\{"level":"warn",.*"component":"db01"/, /^<6>\{"level":"info"/]],
    [`${dev}:1`, [/^\{"level":"info"/, /^\{"level":"warn"/, /^\{"level":"info"/]],
  ] as const) {
    truncateSync(file)
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', fd], env: { ...process.env, LOG_FORMAT: 'json', JOURNAL_STREAM: stream } })
    t.equal(await new Promise((resolve) => child.once('exit', resolve)), 0)
    const written = readFileSync(file, 'utf8').trimEnd().split('\n')
    t.equal(written.length, lines.length)
    for (const [i, line] of lines.entries()) t.match(written[i], line)
  }
})

t.test('what was said lately is kept, to a bound', async (t) => {
  const script = `import { createLogger } from '${MODULE}'
const log = createLogger(); log.child('db01').warn('slow'); for (let i = 0; i < 300; i++) log.info('line ' + i); for (let i = 0; i < 12; i++) log.info('again')
process.stdout.write(JSON.stringify({ recent: log.recent, suppressed: log.suppressed }))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script])
  const { recent, suppressed } = JSON.parse(stdout) as { recent: { number: number; message: string }[]; suppressed: number }
  t.equal(recent.length, limits.recentLines)
  t.equal(suppressed, 2)
  t.match(recent.at(-1), { number: 311, level: 'info', component: '', message: 'again', time: /^20\d\d-/ })
  t.equal(recent[0]!.number, 311 - limits.recentLines + 1)
})
