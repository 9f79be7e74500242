/** What systemd hears of a daemon, from its start to its end. */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ServiceManager } from '../../lib/daemon/service-manager.js'
import { LAUNCHER, workDirectory } from '../cli/holdfast.js'
import { sleep } from '../../fixtures/lab/workspace.js'
import { NotifyReceiver } from './notify-receiver.js'

const WATCHDOG_MS = 400

t.test('ready, alive while it runs, silent while it hangs, reloading, stopping', async (t) => {
  const directory = workDirectory(t), receiver = new NotifyReceiver(t, directory)
  writeFileSync(join(directory, 'h.toml'), '[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "12MiB"\nsegment_size = "2MiB"\n')
  const daemon = spawn(LAUNCHER, ['serve', '--config', 'h.toml'], {
    cwd: directory, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, LOG_FORMAT: 'text', NOTIFY_SOCKET: receiver.path, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) },
  })
  const ended = new Promise<number | null>((resolve) => daemon.once('exit', resolve))
  t.teardown(async () => { daemon.kill('SIGKILL'); await ended })
  await receiver.hears('READY=1')
  t.same(receiver.heard.slice(0, receiver.heard.indexOf('READY=1')).filter((line) => /^(READY|STOPPING|RELOADING)/.test(line)), [], 'nothing of the kind before')
  t.ok(receiver.heard.some((line) => /^EXTEND_TIMEOUT_USEC=\d+$/.test(line)), 'a region that is being made takes its time')
  await receiver.hears('STATUS=0 of 0 volumes served here')
  const environment = readFileSync(`/proc/${daemon.pid}/environ`, 'utf8')
  t.match(environment, 'NOTIFY_SOCKET', 'as it was started')
  await receiver.hears('WATCHDOG=1', 5)
  daemon.kill('SIGSTOP')
  await sleep(100)
  const before = receiver.count('WATCHDOG=1')
  await sleep(2 * WATCHDOG_MS)
  t.equal(receiver.count('WATCHDOG=1'), before, 'one that hangs does not feed it')
  daemon.kill('SIGCONT')
  await receiver.hears('WATCHDOG=1', before + 2)
  daemon.kill('SIGHUP')
  await receiver.hears('RELOADING=1')
  await receiver.hears(/^MONOTONIC_USEC=\d+$/)
  await receiver.hears('READY=1', 2)
  daemon.kill('SIGTERM')
  await receiver.hears('STOPPING=1')
  t.equal(await ended, 0)
})

t.test('without a service manager, or with a watchdog that is meant for another process, nothing is asked for', async (t) => {
  const directory = workDirectory(t), receiver = new NotifyReceiver(t, directory)
  const of = (environment: Record<string, string | undefined>): { manager: ServiceManager; left: string[] } => {
    const manager = new ServiceManager(environment)
    t.teardown(() => manager.close())
    return { manager, left: Object.keys(environment) }
  }
  t.match(of({ WATCHDOG_USEC: '1000000' }), { manager: { watchdogMs: null }, left: [] })
  t.match(of({ NOTIFY_SOCKET: receiver.path, WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }), { manager: { watchdogMs: null }, left: [] })
  const { manager, left } = of({ NOTIFY_SOCKET: receiver.path, WATCHDOG_USEC: '1000000', WATCHDOG_PID: String(process.pid), HOME: '/' })
  t.equal(manager.watchdogMs, 1000)
  t.same(left, ['HOME'], 'what the daemon starts has nothing to say there')
  manager.status('one\ntwo')
  manager.status('one\ntwo')
  manager.ready()
  await receiver.hears('READY=1')
  t.same(receiver.heard, ['STATUS=one two', 'READY=1'])
  const nobody = of({ NOTIFY_SOCKET: join(directory, 'nobody') })
  t.doesNotThrow(() => nobody.manager.ready(), 'a manager that is gone is no reason to stop')
  for (const path of ['', 'relative', `/${'x'.repeat(200)}`]) t.doesNotThrow(() => of({ NOTIFY_SOCKET: path }).manager.ready(), path)
})
