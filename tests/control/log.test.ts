import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

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
