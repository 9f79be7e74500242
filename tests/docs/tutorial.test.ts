/** The tutorial's commands, in its order, in one shell, as somebody would type them. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LibvirtHosts, type Outcome } from '../../fixtures/lab/libvirt-host.js'
import { namespacesMissing } from '../../fixtures/lab/namespaces.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { ROOT, Workspace } from '../../fixtures/lab/workspace.js'

const text = readFileSync(join(ROOT, 'docs/tutorial.md'), 'utf8')
/** In the order of the page, by what stands behind "sh". */
const blocks = [...text.matchAll(/^```sh run( libvirt)?\n([^]*?)^```$/gm)].map(([, libvirt, commands]) => ({ libvirt: libvirt !== undefined, commands: commands! }))
/** An answer that never comes must not keep what was started running. */
const script = (chosen: typeof blocks): string => `set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\ncd ${ROOT}\n${chosen.map(({ commands }) => commands).join('\n')}`

t.test('every block of commands is run here, or known not to be', (t) => {
  t.same([blocks.filter(({ libvirt }) => !libvirt).length, blocks.filter(({ libvirt }) => libvirt).length], [9, 6])
  t.same([...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, commands]) => commands!.split(/\s{2}/)[0]), ['make setup build guest'], 'only the build is not')
  t.end()
})

t.test('without libvirt', { skip: requires('qemu-system-x86_64', 'guest', 'debugfs'), timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hf-tut-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'timeout', '-k', '5', '110', 'bash', '-c', script(blocks.filter(({ libvirt }) => !libvirt))], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: folder } })
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => { stdout += part })
  child.stderr.setEncoding('utf8').on('data', (part: string) => { stderr += part })
  const code = await new Promise((resolve) => child.on('close', resolve))
  t.equal(code, 0, stderr)
  t.match(stdout, /^holdfast: serving \S+vm1.raw on vm1.sock, policy write-back without copies/m)
  t.match(stdout, /^hello from the guest/m)
  t.match(stdout, /^volume db01: serving$/m)
  const [, verified, of] = /^VERIFY (\d+) of (\d+)\s*$/m.exec(stdout) ?? []
  t.ok(Number(verified) > 0 && verified === of, `${verified} of ${of}`)
  t.match(stdout, /^ {2}dirty +0 B; /m)
  t.match(stdout, /^db01.raw$/m, 'its name again')
})

t.test('under libvirt', { skip: requires('qemu-system-x86_64', 'libvirtd', 'virsh', 'guest') || namespacesMissing(), timeout: 120_000 }, async (t) => {
  const work = new Workspace('tut')
  t.teardown(() => work.close())
  const host = (await LibvirtHosts.create(work, ['hv07'])).host('hv07')
  // libvirt that finds no hook when it starts looks for none later.
  writeFileSync(join(host.folder, 'etc/libvirt/hooks/qemu.d/another'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  await host.startLibvirtd()
  mkdirSync(work.file('tmp'))
  const { code, stdout, stderr }: Outcome = await host.command('env', [`TMPDIR=${work.file('tmp')}`, 'bash', '-c', script(blocks.filter(({ libvirt }, i) => libvirt || i === 0))], 100_000)
  t.equal(code, 0, stderr)
  t.match(stdout, /<source type='unix' path='\/run\/holdfast\/web01.sock'>/)
  t.match(stdout, /^hello from libvirt$/m, 'what the guest wrote is on the image')
  t.match(stdout, /^refused, as it should be$/m)
  t.match(stderr, /holdfast: volume web01: \/run\/holdfast\/web01.sock does not exist, and QEMU would wait for it for ever/)
  t.match(readFileSync(work.file('tmp/holdfast-tutorial/web.log'), 'utf8'), /the guest of web01 has ended/)
  t.notOk(existsSync('/run/holdfast/web01.sock'), 'all of it was in its own folders')
})
