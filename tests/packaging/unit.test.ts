/** The systemd unit: legal, before whatever starts guests, and in agreement with the daemon. */
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { limits } from '../../lib/limits.js'
import { loadConfig } from '../../lib/config/load.js'
import { ROOT } from '../../fixtures/lab/workspace.js'
import { workDirectory } from '../cli/holdfast.js'

const text = readFileSync(join(ROOT, 'packaging/systemd/holdfast.service'), 'utf8')
const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? ''

t.test('it says what the daemon needs', async (t) => {
  for (const unit of ['libvirtd.service', 'virtqemud.service', 'libvirt-guests.service']) t.ok(value('Before').split(' ').includes(unit), unit)
  t.equal(value('Type'), 'notify')
  t.ok(Number(value('TimeoutStopSec')) * 1000 > limits.stopTimeoutMs + limits.stopRestMs, 'a clean stop is not cut short')
  t.ok(Number(value('WatchdogSec')) > 0)
  t.equal(value('RestartPreventExitStatus'), /`RestartPreventExitStatus=([\d ]+)`/.exec(readFileSync(join(ROOT, 'docs/exit-codes.md'), 'utf8'))?.[1])
  t.equal(value('LimitMEMLOCK'), 'infinity')
  t.notMatch(text, /^(MemoryDenyWriteExecute|PrivateDevices|ProtectClock|MemoryMax)=/m, 'V8 compiles, regions may be devices, guests\' pages count')
})

const analyze = spawnSync('systemd-analyze', ['--version']).status === 0
t.test('systemd takes it', analyze ? {} : { skip: 'systemd-analyze is not installed' }, async (t) => {
  const directory = workDirectory(t), program = join(directory, 'holdfast'), unit = join(directory, 'holdfast.service')
  writeFileSync(program, '#!/bin/sh\n')
  chmodSync(program, 0o755)
  writeFileSync(unit, text.replaceAll('/usr/bin/holdfast', program))
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' })
  t.same([status, stderr.split('\n').filter((line) => line.includes('holdfast'))], [0, []])
  writeFileSync(unit, text.replaceAll('/usr/bin/holdfast', program).replace('Type=notify', 'Type=notified'))
  t.match(spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' }).stderr, /Failed to parse service type/, 'and it would say so')
})

t.test('the example configuration: legal but for the name that a person gives', async (t) => {
  const example = readFileSync(join(ROOT, 'packaging/holdfast.toml'), 'utf8'), path = join(workDirectory(t), 'h.toml')
  const checked = (content: string) => { writeFileSync(path, content); return loadConfig(path) }
  t.throws(() => checked(example), /host\.name = "CHANGE-ME" must be a host id: [^\n]*$/)
  const named = example.replace('CHANGE-ME', 'hv07')
  t.match(checked(named), { host: { control_group: 'holdfast', status_socket: '/run/holdfast/status.sock' }, region: { path: '/var/lib/holdfast/region' } })
  const whole = named.split('\n').map((line) => line.replace(/^#(?=[a-z_]+ = |\[|$)/, '')).join('\n')
  t.match(checked(whole), { host: { socket_user: 'libvirt-qemu', socket_mode: 0o660 }, peer: [{ name: 'hv08' }], volume: [{ name: 'db01', copies: 1 }] }, 'with everything that it proposes')
})
