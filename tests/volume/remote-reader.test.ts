import t from 'tap'
import { epoch, won } from '../../lib/core/units.js'
import { RemoteReader } from '../../lib/volume/remote-reader.js'

const LOG = { epoch: epoch(1), start: won(0), kept: 3, holders: [{ host: 'b', incarnation: 'b'.repeat(32) }] }

t.test('a read that no holder answers ends when the log is to be had elsewhere', async (t) => {
  const reader = new RemoteReader(() => 'v', () => undefined, 60_000, () => undefined)
  let asked = 0
  t.equal(await reader.readUnless(LOG, 0, 8, () => ++asked === 2), null)
})

t.test('and with an error when nothing changes for as long as a guest may wait', async (t) => {
  const reader = new RemoteReader(() => 'v', () => undefined, 100, () => undefined)
  await t.rejects(reader.read(LOG, 0, 8), { message: /^no holder of epoch 1 \(b\) can be read: no holder is connected; bring one of them back$/ })
})
