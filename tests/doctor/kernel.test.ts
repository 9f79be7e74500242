/** What can be said about a kernel without being on it. */
import t from 'tap'
import { howToAllow, memlock } from '../../lib/doctor/kernel.js'

const limitsText = (soft: string): string => `Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         ${soft.padEnd(20)} 8388608              bytes     \n`

t.test('how to get io_uring depends on who keeps it away', async (t) => {
  t.match(howToAllow('2'), /switched off for everybody: sysctl -w kernel.io_uring_disabled=0/)
  t.match(howToAllow('1'), /kernel.io_uring_group/)
  t.match(howToAllow('0'), /seccomp filter/)
})

t.test('locked memory matters to kernels before 5.12 only, and to those it does', async (t) => {
  t.match(memlock('5.10.0-28-amd64', limitsText('65536'), 1), [{ level: 'fail', text: /limited to 65536 bytes, and Linux 5.10.0-28-amd64 counts the rings' 153600/, remedy: /LimitMEMLOCK=infinity/ }])
  t.match(memlock('4.19', limitsText('8388608'), 1), [{ level: 'ok' }])
  t.match(memlock('5.10', limitsText('8388608'), 500), [{ level: 'fail' }], 'each storage has a ring')
  t.same(memlock('5.10', limitsText('unlimited'), 500), [])
  for (const release of ['5.12.0', '5.15', '6.1.0-18-amd64', '10.0']) t.same(memlock(release, limitsText('0'), 1), [], release)
})
