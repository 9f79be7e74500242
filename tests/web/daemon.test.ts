/** The listener of a daemon as it is started. */
import { existsSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import type { HostMeasures } from '../../lib/ports/measures.js'
import { freePorts } from '../../fixtures/lab/workspace.js'
import { holdfast, start, workDirectory } from '../cli/holdfast.js'

const HOST = '[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "12MiB"\nsegment_size = "2MiB"\n'

const fetched = (port: number, path: string): Promise<{ status: number; body: string }> => new Promise((resolve, reject) => {
  get({ host: '127.0.0.1', port, path }, (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => resolve({ status: response.statusCode!, body }))
  }).on('error', reject)
})

t.test('[http] serves page, figures and metrics; without it nobody listens', async (t) => {
  const directory = workDirectory(t), [port, other] = await freePorts(2)
  writeFileSync(join(directory, 'h.toml'), `${HOST}[http]\nlisten = "127.0.0.1:${port}"\n`)
  const daemon = start(t, ['serve', '--config', 'h.toml'], directory)
  await daemon.says('holdfast: host a serves')
  t.match(await fetched(port!, '/metrics'), { status: 200, body: /^holdfast_build_info\{version="[\d.]+",node="[\d.]+",host="a",fault_domain=""\} 1$/m })
  t.match(await fetched(port!, '/'), { status: 200, body: /<title>Holdfast<\/title>/ })
  t.match(JSON.parse((await fetched(port!, '/v1/measures')).body) as HostMeasures, { status: { host: 'a' }, volumes: [], certificateEndsMs: null })
  t.equal((await daemon.stop()).code, EXIT.done)
  await t.rejects(fetched(port!, '/metrics'), { code: 'ECONNREFUSED' })

  writeFileSync(join(directory, 'h.toml'), HOST)
  await start(t, ['serve', '--config', 'h.toml'], directory).says('holdfast: host a serves')
  for (const closed of [port!, other!]) await t.rejects(fetched(closed, '/metrics'), { code: 'ECONNREFUSED' })
})

t.test('a token file that is no good, or an address that is taken, ends the start with a sentence', async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml'), [port] = await freePorts(1)
  writeFileSync(config, `${HOST}[http]\nlisten = "0.0.0.0:${port}"\ntoken_file = "none"\n`)
  t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: new RegExp(`^holdfast: http\\.token_file ${directory}/none cannot be read: ENOENT`), stdout: '' })
  t.notOk(existsSync(join(directory, 'region')), 'nothing written')
  writeFileSync(config, `${HOST}[http]\nlisten = "10.255.255.1:${port}"\n`)
  t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: /http\.token_file is missing/ })
})
