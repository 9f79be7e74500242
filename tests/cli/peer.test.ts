/** `holdfast peer` without a daemon. */
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { holdfast, workDirectory, type Outcome } from './holdfast.js'

t.test('before any daemon runs, on the shared place itself', async (t) => {
  const store = `${workDirectory(t)}/shared`
  const there = (...args: string[]): Promise<Outcome> => holdfast('peer', ...args, '--store', store)
  t.match(await there('list'), { code: EXIT.done, stdout: `no record of members yet in ${store}\n` })
  t.match(await there('add', 'a', '10.0.0.7:7400'), { code: EXIT.done, stdout: /generation 1/ })
  t.match(await there('add', 'b', '[::1]:7400', '--fault-domain', 'r1', '--json'), { code: EXIT.done, stdout: '{"name":"b","generation":2,"changed":true,"unknown":[]}\n' })
  t.match(await there('revoke', 'b'), { code: EXIT.unsafe, stderr: /without a daemon nobody knows what b has a copy of; .*or say --force \(nothing was changed\)/ })
  t.match(await there('revoke', 'b', '--force'), { code: EXIT.done })
  t.equal((await there('list')).stdout, `generation 3 of the members in ${store}\n  a  10.0.0.7:7400\n  b  [::1]:7400     REVOKED, fault domain r1\n`)
  t.equal((await there('show', 'b')).stdout, 'host b\n  address  [::1]:7400\n  state    REVOKED\n  domain   r1\n  region   not known\n')
  t.match(JSON.parse((await there('show', 'a', '--json')).stdout), { name: 'a', address: '10.0.0.7:7400', revoked: false, connected: null })
  t.match(await there('show', 'c'), { code: EXIT.usage, stdout: '', stderr: 'holdfast: c does not belong to the cluster; there are: a, b\n' })
})
