/** SIGHUP: what changes while the daemon runs, what waits for the next start, and that a wrong file changes nothing. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { ControlClient } from '../../lib/control/client.js'
import { STATUS } from '../../lib/ports/guest.js'
import { until } from '../../fixtures/lab/workspace.js'
import { place, VOLUME, write } from '../cli/volumes-lab.js'

const second = VOLUME.replaceAll('db01', 'db02'), third = VOLUME.replaceAll('db01', 'db03')

t.test('volumes come, go and change; a guest is not disturbed', async (t) => {
  const { directory, serve } = place(t, VOLUME + second)
  const config = join(directory, 'h.toml'), base = readFileSync(config, 'utf8').replace(VOLUME + second, '')
  const daemon = await serve(), control = new ControlClient(join(directory, 'ctl'))
  const names = async (): Promise<string> => (await control.status()).volumes.map(({ name }) => name).sort().join(' ')
  const reload = async (text: string, says: RegExp): Promise<void> => {
    const already = daemon.heard.length
    writeFileSync(config, text)
    daemon.child.kill('SIGHUP')
    await until(`${says} in ${daemon.heard.slice(already)}`, 20_000, () => says.test(daemon.heard.slice(already)))
  }
  const done = /h\.toml was read again/
  await write(t, join(directory, 'db02.sock'), 5)
  const guest = await VhostClient.connect(join(directory, 'db01.sock'))
  t.equal(await guest.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)

  await reload(base + VOLUME + third, done)
  t.equal(await names(), 'db01 db03', 'one has come and one has gone')
  t.equal(readFileSync(join(directory, 'db02.raw'))[4096], 5, 'with everything on its backing, and its own name')

  await reload(base + third, /volume db01 is not in .*h\.toml any more, but a guest is connected: it stays/)
  await until('the end of it', 5000, () => done.test(daemon.heard.split('but a guest is connected')[1]!))
  t.equal(await names(), 'db01 db03')
  t.equal(await guest.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  await reload(base + third + VOLUME.replace('"db01"', '"db04"').replace('db01.sock', 'db04.sock'), /not read again: with volume db01, which stays: .*backing.* already/)
  t.equal(await names(), 'db01 db03', 'two volumes never have one image')

  await reload(base + third + VOLUME.replace('copies = 0', 'copies = 0\ndestage_delay = "5s"'), /volume db01 goes on as it was, because a guest is connected: destage_delay will be others when/)
  await guest.close()
  await until('the guest to be gone', 5000, async () => (await control.status()).volumes.every(({ frontEnds }) => frontEnds === 0))
  await reload(base + third + VOLUME.replace('copies = 0', 'copies = 0\ndestage_delay = "5s"'), /volume db01 was started again with another destage_delay/)
  await reload(base + third, done)
  t.equal(await names(), 'db03')
})

t.test('a policy changes under a guest; what cannot change is named; a wrong file changes nothing', async (t) => {
  const { directory, serve } = place(t), config = join(directory, 'h.toml'), text = readFileSync(config, 'utf8')
  const daemon = await serve(), control = new ControlClient(join(directory, 'ctl'))
  const guest = await VhostClient.connect(join(directory, 'db01.sock'))
  t.equal(await guest.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  const hangup = (content: string): void => { writeFileSync(config, content); daemon.child.kill('SIGHUP') }
  const policy = async (): Promise<string> => (await control.status()).volumes[0]!.policy.effective
  hangup(text.replace('copies = 0', 'copies = 0\npolicy = "write-through"'))
  await until('write-through', 15_000, async () => await policy() === 'write-through')
  hangup(text.replace('copies = 0', 'copies = 7'))
  await until('the refusal', 10_000, () => /not read again: .*h\.toml: volume\[db01\]\.copies = 7 must be a whole number from 0 to 2/.test(daemon.heard))
  hangup('nonsense')
  await until('the refusal', 10_000, () => /not read again: .*h\.toml, line 1: not TOML/.test(daemon.heard))
  t.equal(await policy(), 'write-through')
  hangup(text.replace('name = "a"', 'name = "a"\nlow_latency = true').replace('dead_after = "6s"', 'dead_after = "7s"'))
  await until('what waits', 10_000, () => /host\.low_latency is another one in .*h\.toml, and takes effect when the daemon is started again/.test(daemon.heard) && /timing\.dead_after is another one/.test(daemon.heard))
  await until('write-back', 15_000, async () => await policy() === 'write-back, 0 copies')
  await guest.close()
})
