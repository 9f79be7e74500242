/** The Debian package: built, installed in a tree that has nothing of ours, used, and purged. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import type { HostStatus } from '../../lib/ports/control.js'
import { Workspace, ROOT, until } from '../../fixtures/lab/workspace.js'
import { DebianTree, minimalDebian } from './debian-tree.js'

const MIB = 2 ** 20
const RECORDING = '# holdfast-trace 1\n# capacity 2048\n# seed 7\n0 w 64 16\n10 w 1024 8\n20 f\n30 r 64 16\n'
const work = new Workspace('deb')
t.teardown(() => work.close())

function build(directory: string): string {
  const { status, stdout, stderr } = spawnSync(join(ROOT, 'packaging/build-deb.sh'), [work.file(directory)], { encoding: 'utf8', env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000' } })
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

/** Debian 12 has an older one: this is the Node that the tests run with, as a package. */
function nodePackage(): string {
  const stage = work.file('node-stage'), deb = work.file('nodejs.deb')
  for (const path of ['usr/bin', 'DEBIAN']) mkdirSync(join(stage, path), { recursive: true })
  copyFileSync(process.execPath, join(stage, 'usr/bin/node'))
  const architecture = spawnSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).stdout.trim()
  writeFileSync(join(stage, 'DEBIAN/control'), `Package: nodejs\nVersion: ${process.versions.node}\nArchitecture: ${architecture}\nMaintainer: nobody <nobody@localhost>\nDescription: for a test\n`)
  const { status, stderr } = spawnSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', stage, deb], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return deb
}

t.test('two builds of one tree are the same bytes, and hold nothing of the tests', async (t) => {
  const first = build('first'), second = build('second')
  t.ok(readFileSync(first).equals(readFileSync(second)))
  const names = spawnSync('dpkg-deb', ['--contents', first], { encoding: 'utf8' }).stdout
  for (const path of ['usr/bin/holdfast ', 'usr/bin/holdfast-blk', 'usr/lib/systemd/system/holdfast.service', 'usr/share/qemu/vhost-user/50-holdfast-blk.json', 'usr/share/man/man1/holdfast-volume-add.1.gz',
    'usr/lib/holdfast/dashboard/index.html', 'usr/lib/holdfast/dist/dashboard/main.js', 'usr/lib/holdfast/node_modules/uplot/dist/uPlot.min.css', 'usr/share/holdfast/libvirt/hooks/holdfast', 'usr/share/bash-completion/completions/holdfast', 'usr/share/doc/holdfast/docs/configuration.md', 'usr/share/doc/holdfast/copyright', 'etc/holdfast/holdfast.toml']) t.ok(names.includes(`./${path}`), path)
  t.notMatch(names, /dist\/(tests|fixtures)|node_modules\/(tap|typescript|fast-check|@types)\b|\.map$/m)
})

const debian = minimalDebian()
t.test('installed, used, removed and purged', 'reason' in debian ? { skip: debian.reason } : {}, async (t) => {
  const { tree: lower } = debian as { readonly tree: string }
  const deb = build('first'), tree = await DebianTree.over(t, lower, work.file('tree'), [deb, nodePackage()]), file = `/files/${deb.split('/').at(-1)!}`
  const sh = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await tree.run('sh', '-ec', script)
    if (code !== 0) throw new Error(`${script} ended with ${code}: ${stdout}${stderr}`)
    return stdout
  }
  await t.rejects(sh(`dpkg -i ${file}`), /holdfast depends on nodejs/, 'not without its Node')
  await sh(`dpkg -i /files/nodejs.deb && dpkg -i ${file}`)
  t.equal(await sh('holdfast --version'), `${(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version}\n`)
  t.match(await sh('getent group holdfast holdfast-status'), /^holdfast:.*\nholdfast-status:/)
  t.match(JSON.parse(await sh('holdfast-blk --print-capabilities')), { type: 'block' })
  t.match(await tree.run('holdfast', 'serve', '--config', '/etc/holdfast/holdfast.toml'), { code: EXIT.config, stderr: /host.name = "CHANGE-ME" must be a host id/ }, 'nobody has named this host yet')

  await sh(`sed -i -e 's/CHANGE-ME/hv01/' -e 's/64GiB/256MiB/' /etc/holdfast/holdfast.toml
    printf '[http]\\nlisten = "127.0.0.1:17480"\\n' >> /etc/holdfast/holdfast.toml
    mkdir -p /srv /run/holdfast && truncate -s 1M /srv/db01.raw && printf '%s' '${RECORDING}' > /files/recording`)
  const { code, stdout } = await tree.run('holdfast', 'doctor', '--json')
  t.equal(code, EXIT.done, stdout)
  t.ok(Array.isArray((JSON.parse(stdout) as { findings: unknown[] }).findings ?? JSON.parse(stdout)))
  const daemon = tree.spawn('holdfast', 'serve', '--config', '/etc/holdfast/holdfast.toml')
  let said = ''
  daemon.stderr!.setEncoding('utf8').on('data', (text: string) => { said += text })
  const ended = new Promise<number | null>((resolve) => daemon.once('exit', resolve))
  t.teardown(async () => { daemon.kill('SIGKILL'); await ended })
  await until('the daemon to serve', 60_000, async () => {
    if (daemon.exitCode !== null) throw new Error(`ended with ${daemon.exitCode}: ${said}`)
    return (await tree.run('holdfast', 'status')).code === EXIT.done
  })
  t.match(await sh('node -e "fetch(process.argv[1]).then((r) => r.text()).then(console.log)" http://127.0.0.1:17480/'), /<title>/)
  await sh('holdfast volume add db01 --backing /srv/db01.raw --set copies=0')
  t.match(await sh('holdfast replay /files/recording --socket-path /run/holdfast/db01.sock'), /write/)
  t.match((JSON.parse(await sh('holdfast status --json')) as HostStatus).volumes, [{ name: 'db01', phase: 'serving', guardedAs: '/srv/db01.raw.holdfast' }])
  daemon.kill('SIGTERM')
  t.equal(await ended, EXIT.done, said)

  const image = join(tree.changes, 'srv/db01.raw'), region = join(tree.changes, 'var/lib/holdfast/region')
  const zeros = work.image('zeros.raw', MIB)
  t.equal(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, zeros], { encoding: 'utf8' }).stdout, 'Content mismatch at offset 32768!\n', 'what was written is there for QEMU')
  t.equal(readFileSync(image).subarray(0, 64 * 512).every((byte) => byte === 0), true)

  await sh('dpkg --remove holdfast')
  t.ok(existsSync(join(tree.changes, 'etc/holdfast/holdfast.toml')), 'removed: the configuration stays')
  t.match(await sh('dpkg --purge holdfast'), /is left alone/)
  t.equal(await sh('ls -d /etc/holdfast /usr/lib/holdfast /usr/bin/holdfast* /etc/needrestart/conf.d/holdfast.conf 2>/dev/null || true'), '')
  t.equal(statSync(region).size, 256 * MIB, 'what may be the only copy of something stays')
  t.equal(await sh('cat /var/lib/holdfast/region.volumes | head -c 1'), '{')
})
