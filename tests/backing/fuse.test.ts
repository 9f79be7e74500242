import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { isFixed, looksLikeQemu, mountOf, refuseQemuFuse } from '../../lib/backing/fuse.js'
import { EXIT } from '../../lib/core/failure.js'
import { Child } from '../../fixtures/lab/process.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { holdfast } from '../cli/holdfast.js'

const MOUNTS = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:38 / /mnt/ceph rw - fuse.ceph-fuse ceph-fuse rw,user_id=0,group_id=0,allow_other
41 22 0:39 / /srv/db\\040one.raw rw,nosuid,nodev,relatime - fuse /dev/fuse rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=67108864
42 22 0:40 / /srv/nbd.raw rw,nosuid,nodev,relatime - fuse /dev/fuse rw,user_id=0,group_id=0
43 22 0:41 / /mnt/sshfs rw - fuse.sshfs hv07:/srv rw,user_id=0,group_id=0,max_read=67108864
44 22 0:42 / /mnt/own rw - fuse /dev/fuse rw,max_read=67108864
45 44 254:0 /x /mnt/own rw - ext4 /dev/vdb rw
46 22 0:43 / /mnt/whole rw - fuse /dev/fuse rw,max_read=67108864
`

t.test('whose FUSE mount it is', async (t) => {
  const isQemu = (path: string): boolean => looksLikeQemu(mountOf(path, MOUNTS)!, path)
  t.match(mountOf('/srv/db one.raw', MOUNTS), { point: '/srv/db one.raw', type: 'fuse', minor: 39 })
  t.equal(isQemu('/srv/db one.raw'), true)
  t.equal(isQemu('/srv/nbd.raw'), false, 'nbdfuse')
  t.equal(isQemu('/mnt/sshfs/db01.raw'), false)
  t.equal(isQemu('/mnt/ceph/db01.raw'), false)
  t.equal(isQemu('/mnt/whole/db01.raw'), false, 'a whole file system')
  t.equal(mountOf('/mnt/own', MOUNTS)!.type, 'ext4', 'the later of two mounts on one place')
  t.equal(mountOf('/srv/nbd.raw.old', MOUNTS)!.point, '/', 'not a name that only begins like it')
  t.equal(mountOf('/x', ''), null)
})

t.test('which releases are known to be right', async (t) => {
  for (const version of ['7.2.22', '8.2', '9.99.99', '10.0.12', '10.0']) t.equal(isFixed(version), false, version)
  for (const version of ['10.0.13', '10.0.20', '10.1', '11.0.0']) t.equal(isFixed(version), true, version)
})

const skip = process.getuid?.() === 0 ? requires('/dev/fuse', 'qemu-storage-daemon', 'nbdkit', 'nbdfuse') : 'needs root'
const SIZE = 1024 * 1024

async function mounted(t: Test, start: (work: Workspace, point: string) => Child): Promise<string> {
  const work = new Workspace('fuse'), point = work.file('shown.raw')
  t.teardown(() => work.close())
  writeFileSync(point, '')
  const child = start(work, point)
  work.onClose(async () => {
    spawnSync('umount', ['-l', point])
    await child.kill9()
  })
  await until('the mount', 10_000, () => {
    if (child.exit !== null) throw new Error(`it ended (${child.exit}): ${child.output}`)
    return mountOf(point, readFileSync('/proc/self/mountinfo', 'utf8'))!.point === point
  })
  return point
}

const byQemu = (work: Workspace, point: string): Child => new Child('qemu-storage-daemon', [
  '--blockdev', `file,node-name=f,filename=${work.image('disk.raw', SIZE)}`, '--export', `fuse,id=e,node-name=f,mountpoint=${point},writable=on`,
], work.file('qsd.log'))

t.test('an image behind QEMU\'s FUSE export is refused, with what to use instead', { skip, timeout: 40_000 }, async (t) => {
  const point = await mounted(t, byQemu)
  const version = /version (\d+(?:\.\d+)+)/.exec(spawnSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8' }).stdout)![1]!
  if (isFixed(version)) {
    t.doesNotThrow(() => refuseQemuFuse(point), `QEMU ${version} does it right`)
    return
  }
  t.throws(() => refuseQemuFuse(point), { exitCode: EXIT.config, message: `${point} is the FUSE export of a qemu-storage-daemon ${version}, which before 10.0.13 stores wrong bytes` })
  const outcome = await holdfast('blk', '--socket-path', `${point}.sock`, '--blk-file', point)
  t.match(outcome, { code: EXIT.config, stderr: /stores wrong bytes when requests overlap; give Holdfast what that daemon opens instead: .*--blockdev/ })
})

t.test('another program\'s FUSE mount is none of our business', { skip, timeout: 40_000 }, async (t) => {
  const point = await mounted(t, (work, at) => new Child('nbdfuse', [at, '--command', 'nbdkit', '-s', 'memory', String(SIZE)], work.file('nbdfuse.log')))
  t.doesNotThrow(() => refuseQemuFuse(point))
})
