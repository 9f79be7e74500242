/** What answers on the control socket, and what it should be. */
import { join } from 'node:path'
import t from 'tap'
import { ControlServer } from '../../lib/control/server.js'
import { loadConfig } from '../../lib/config/load.js'
import { VERSION } from '../../lib/daemon/version.js'
import { checkDaemon } from '../../lib/doctor/daemon.js'
import { workDirectory } from '../cli/holdfast.js'
import { FakeHost, fakeFigures, hostStatus } from '../control/fake-host.js'
import { written } from './lab.js'

t.test('a daemon that is another one, an older one, or was started before the configuration was changed', async (t) => {
  const directory = workDirectory(t), config = loadConfig(written(directory)), host = new FakeHost(), server = new ControlServer(join(directory, 'ctl'), host, fakeFigures)
  t.match(await checkDaemon(config), { runs: false, findings: [{ level: 'ok', text: 'not running' }] })
  await server.start()
  t.teardown(() => server.stop())
  const mine = { host: 'a', version: VERSION, region: { ...hostStatus().region, path: join(directory, 'region') } }
  const says = async (over: object) => {
    host.answer = () => hostStatus({ ...mine, ...over })
    return checkDaemon(config)
  }
  t.match(await says({}), { runs: true, findings: [{ level: 'ok', text: /runs and answers on/ }] })
  t.match(await says({ host: 'b' }), { runs: true, findings: [{ level: 'fail', text: /answers host b with region/ }] })
  t.match(await says({ version: '0.0.1' }), { findings: [{ level: 'warn', text: `version 0.0.1 runs, ${VERSION} is installed` }] })
  t.match(await says({ volumes: [] }), { findings: [{ level: 'warn', text: /does not know db01: the configuration was changed/ }] })
  host.answer = () => { throw new TypeError('a bug') }
  t.match(await checkDaemon(config), { runs: false, findings: [{ level: 'fail', text: /internal error/ }] })
})
