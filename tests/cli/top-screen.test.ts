import t from 'tap'
import { ratesBetween } from '../../lib/live/rates.js'
import { topScreen } from '../../lib/cli/top-screen.js'
import { hostMeasures, hostStatus, volumeMeasures, volumeStatus } from '../control/fake-host.js'

const degraded = volumeStatus({ name: 'mail', policy: { requested: 'write-back, 1 copy', effective: 'write-through', reason: 'hv09 is not connected' } })
const status = hostStatus({
  volumes: [volumeStatus(), degraded], waiting: [{ name: 'erp', socket: '/run/erp.sock', reason: 'ESTALE' }],
  peers: [{ ...hostStatus().peers[0]!, accepted: false }],
})
const before = hostMeasures({ atMs: 0, status, volumes: [volumeMeasures(), volumeMeasures({ name: 'mail' })] })
const after = { ...before, atMs: 1000 }

t.test('what an operator looks for, in a wide window', async (t) => {
  const lines = topScreen(after, ratesBetween(before, after), Infinity).trimEnd().split('\n')
  t.match(lines[0], /^hv07 {3}region 32 GiB of 64 GiB \(50%\) {3}cpu 0% {3}memory 128 MiB {3}loop p99 2\.0 ms {3}peers 0 of 1$/)
  t.match(lines[2], /^VOLUME {2}STATE +READ\/s +WRITE\/s .+ GUEST WRITE .+ DIRTY .+ WAITING$/)
  t.match(lines[3], /^db01 +serving .* 3\.0 MiB +1\.5 s +3\.0 ms +4, 12 ms$/)
  t.same(lines.slice(5), [
    '! mail: write-through instead of write-back, 1 copy: hv09 is not connected', '! erp: waits for its storage: ESTALE', '! peer hv09 is not connected',
  ])
})

t.test('no line is wider than the window; what matters most stays', async (t) => {
  for (const width of [40, 80, 120]) {
    const lines = topScreen(after, ratesBetween(before, after), width).trimEnd().split('\n')
    for (const line of lines) t.ok(line.length <= width, `${width}: ${line}`)
    t.match(lines[2], /^VOLUME {2}STATE .*DIRTY/)
  }
  t.match(topScreen(after, ratesBetween(before, after), 80), /GUEST WRITE/)
})

t.test('a host without volumes', async (t) => {
  const none = hostMeasures({ volumes: [], status: hostStatus({ volumes: [] }) })
  t.match(topScreen(none, ratesBetween(none, none), 80), /no volumes on this host/)
})
