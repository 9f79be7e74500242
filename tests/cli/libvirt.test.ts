/** `holdfast libvirt xml` against a daemon that runs; virsh is a stub that notes what it is asked. */
import { chmodSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { diskXml } from '../../lib/libvirt/disk-xml.js'
import { holdfast, start, workDirectory } from './holdfast.js'

const VIRSH = (folder: string, domain: string): string => `#!/bin/sh
echo "$@" >> ${folder}/calls
case "$*" in
  *dumpxml*) cat <<'END'
${domain}
END
  ;;
  *attach-device*) for word in "$@"; do case $word in *.xml) cat "$word" > ${folder}/attached ;; esac; done; [ ! -e ${folder}/refuse ] || { printf 'error: Failed to attach device\\nerror: no room on the bus\\n' >&2; exit 1; } ;;
esac
`

t.test('the XML of a volume, and its way into a domain that runs', async (t) => {
  const folder = workDirectory(t), config = join(folder, 'h.toml'), socket = join(folder, 'db01.sock'), path = process.env['PATH']
  t.teardown(() => { process.env['PATH'] = path })
  writeFileSync(join(folder, 'db01.raw'), '')
  truncateSync(join(folder, 'db01.raw'), 2 ** 20)
  writeFileSync(config, '[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "12MiB"\nsegment_size = "2MiB"\n[[volume]]\nname = "db01"\nbacking = "db01.raw"\nsocket = "db01.sock"\ncopies = 0\n')
  const ask = (...args: readonly string[]) => holdfast('libvirt', 'xml', ...args, '--config', config)
  t.match(await ask('db01'), { code: EXIT.unreachable, stderr: /^holdfast: no daemon answers/ })
  await start(t, ['serve', '--config', config], folder).says('holdfast: host a serves db01')

  const shown = await ask('db01', '--queues', '2')
  t.equal(shown.code, EXIT.done)
  t.match(shown.stdout, "<driver name='qemu' type='raw' queues='2'/>")
  t.match(shown.stdout, `<source type='unix' path='${socket}'>`)
  t.same(JSON.parse((await ask('db01', '--target', 'vdc', '--json')).stdout), { volume: 'db01', socket, memoryBacking: "<memoryBacking>\n  <source type='memfd'/>\n  <access mode='shared'/>\n</memoryBacking>\n", disk: diskXml({ socket, target: 'vdc', queues: null }) })
  t.match(await ask('db02'), { code: EXIT.usage, stderr: 'holdfast: no volume db02 on this host; there are: db01\n' })
  t.match(await ask('db01', '--persistent'), { code: EXIT.usage, stderr: /only with --attach/ })

  process.env['PATH'] = `${folder}:${path!}`
  writeFileSync(join(folder, 'virsh'), VIRSH(folder, "<domain><devices><disk type='file'><target dev='vda'/></disk></devices></domain>"))
  chmodSync(join(folder, 'virsh'), 0o755)
  t.same(await ask('db01', '--attach', 'vm1', '--persistent', '--connect', 'qemu:///session'), { code: EXIT.done, stdout: 'db01 is vdb of vm1\n', stderr: '' })
  t.equal(readFileSync(join(folder, 'attached'), 'utf8'), diskXml({ socket, target: 'vdb', queues: null }))
  t.match(readFileSync(join(folder, 'calls'), 'utf8'), /^--connect qemu:\/\/\/session --quiet dumpxml vm1\n--connect qemu:\/\/\/session --quiet attach-device vm1 \S+\/disk.xml --live --config\n$/)
  writeFileSync(join(folder, 'refuse'), '')
  t.same(await ask('db01', '--attach', 'vm1'), { code: EXIT.unsafe, stdout: '', stderr: 'holdfast: "virsh attach-device vm1" failed: no room on the bus\n' })

  rmSync(join(folder, 'attached'))
  const client = await VhostClient.connect(socket)
  t.match(await ask('db01', '--attach', 'vm1'), { code: EXIT.unsafe, stderr: /^holdfast: volume db01 is connected to a guest already/ })
  await client.close()
  rmSync(socket)
  t.match(await ask('db01', '--attach', 'vm1'), { code: EXIT.unreachable, stderr: `holdfast: volume db01: ${socket} does not exist, and QEMU would freeze the running guest on it; look at the daemon's log (nothing was changed)\n` })
  t.notOk(existsSync(join(folder, 'attached')), 'virsh was not asked')
})
