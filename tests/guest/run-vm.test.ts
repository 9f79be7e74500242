/** qemu-configs/run-vm: refuses, in one sentence, what would freeze QEMU. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { requires } from '../../fixtures/lab/requirements.js'
import { ROOT, Workspace } from '../../fixtures/lab/workspace.js'

interface Ended { readonly code: number | null; readonly stdout: string; readonly stderr: string }

function runVm(args: readonly string[], path = process.env['PATH']!): Promise<Ended> {
  const child = spawn(join(ROOT, 'qemu-configs/run-vm'), [...args], { env: { ...process.env, PATH: path }, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = '', stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

/** A folder with a qemu-system-x86_64 that tells this version and, when started, its arguments and its configuration. */
function fakeQemu(work: Workspace, version: string): string {
  const folder = work.file(`qemu-${version}`)
  mkdirSync(folder)
  const program = join(folder, 'qemu-system-x86_64')
  writeFileSync(program, `#!/bin/sh\n[ "$1" = --version ] && { echo "QEMU emulator version ${version}"; exit 0; }\necho "ARGS $*"; cat /dev/fd/3\n`)
  chmodSync(program, 0o755)
  return `${folder}:${process.env['PATH']}`
}

/** A listener; without a callback it is silent. */
async function listen(t: Test, path: string, onSocket: (socket: Socket) => void = () => undefined): Promise<void> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
}

t.test('run-vm', { skip: requires('bash', 'node') }, async (t) => {
  const work = new Workspace('runvm')
  t.teardown(() => work.close())
  const path72 = fakeQemu(work, '7.2.22')
  const features = Buffer.from('010000000500000008000000' + '0000000001000000', 'hex')

  t.test('sockets that nobody serves', async (t) => {
    const absent = await runVm([work.file('absent')], path72)
    t.match(absent, { code: 69, stderr: /absent does not exist; start "holdfast serve" or "holdfast blk" first\n$/ })
    writeFileSync(work.file('dead'), '')
    t.match(await runVm([work.file('dead')], path72), { code: 69, stderr: /nobody listens on .*dead; start/ })
    await listen(t, work.file('closes'), (socket) => socket.end())
    t.match(await runVm([work.file('closes')], path72), { code: 69, stderr: /closes closed the connection instead of answering/ })
    await listen(t, work.file('silent'))
    t.match(await runVm([work.file('silent')], path72), { code: 69, stderr: /silent was silent for 3 s, and QEMU would freeze/ })
  })

  t.test('usage', async (t) => {
    t.match(await runVm([], path72), { code: 64, stderr: /^run-vm SOCKET/ })
    t.match(await runVm([work.file('s'), '--memroy', '1G'], path72), { code: 64, stderr: /--memroy is not an option here/ })
    t.match(await runVm([work.file('s'), '--memory'], path72), { code: 64, stderr: /--memory needs a value/ })
    t.match(await runVm([work.file('s'), '--packed', 'yes'], path72), { code: 64, stderr: /--packed is on or off/ })
    t.match(await runVm([`/tmp/${'x'.repeat(120)}`], path72), { code: 64, stderr: /longer than the 107 bytes/ })
    t.match(await runVm(['/tmp/a"b'], path72), { code: 64, stderr: /contains a character/ })
  })

  t.test('a served socket is handed to QEMU, by force limited, with the option its version knows', async (t) => {
    const socket = work.file('live')
    await listen(t, socket, (s) => s.on('data', () => s.write(features)))
    const old = await runVm([socket, '--memory', '1G', '--cpus', '2', '--queues', '2', '--time-limit', '9', '--kernel', 'k', '--append', 'a b', '--', '-nographic'], path72)
    t.equal(old.code, 0, old.stderr)
    t.match(old.stdout, /^ARGS -nodefaults -no-user-config -readconfig \/dev\/fd\/3 -kernel k -append a b -nographic$/m)
    t.match(old.stdout, new RegExp(`path = "${socket}"\\n  reconnect = "1"\\n`))
    t.match(old.stdout, /num-queues = "2"/)
    t.match(old.stdout, /packed = "off"/)
    t.match((await runVm([socket, '--packed', 'on'], path72)).stdout, /packed = "on"/)
    t.equal(old.stdout.match(/size = "1G"/g)?.length, 2, 'memory and its backend have one size')
    const printed = await runVm([socket, '--time-limit', '9', '--print'], path72)
    t.match(printed.stdout, /^# timeout -s KILL 9 .*qemu-system-x86_64 /m)
    t.notMatch((await runVm([socket, '--accel', 'kvm', '--print'], path72)).stdout, /^[ \t]+$/m, 'no line that QEMU 7.2 cannot parse')
    const current = await runVm([socket], fakeQemu(work, '10.0.2'))
    t.match(current.stdout, /reconnect-ms = "1000"/)
    t.notMatch(current.stdout, /reconnect = /)
    t.match((await runVm([socket], fakeQemu(work, '9.1.0'))).stdout, /reconnect = "1"/)
  })
})
