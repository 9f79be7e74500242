import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../../fixtures/lab/workspace.js'
import { EXIT } from '../../lib/core/failure.js'
import { MEMORY_BACKING, diskXml, freeTarget } from '../../lib/libvirt/disk-xml.js'
import { readDomain } from '../../lib/libvirt/domain-xml.js'

const disk = (socket: string, target = 'vda'): string => diskXml({ socket, target, queues: null })
const domain = (devices: string, more = ''): string => `<domain type='kvm' id='3'><name>vm1</name>${more}<devices>${devices}</devices></domain>`

t.test('vhost-user disks are found, and only those', (t) => {
  const file = '<disk type="file" device="disk"><source file="/run/holdfast/file.sock"/><target dev="vdb" bus="virtio"/></disk>'
  const net = '<interface type="vhostuser"><source type="unix" path="/run/net.sock" mode="server"/></interface>'
  t.same(readDomain(domain(file + net)), { vhostDisks: [], targets: ['vdb'] })
  t.same(readDomain(domain(disk('/run/a.sock') + file + disk('/run/b.sock', 'vdc'))), {
    vhostDisks: [{ socket: '/run/a.sock', target: 'vda' }, { socket: '/run/b.sock', target: 'vdc' }], targets: ['vda', 'vdb', 'vdc'],
  })
  t.end()
})

t.test('what only looks like a disk is none: in metadata, a comment, text, or for another domain', (t) => {
  const inside = disk('/run/x.sock')
  const elsewhere = `<metadata><m:x xmlns:m="urn:m">${domain(inside)}</m:x></metadata><description>&lt;disk type='vhostuser'&gt;</description><!-- ${inside} --><title><![CDATA[${inside}]]></title>`
  t.same(readDomain(domain('', elsewhere)), { vhostDisks: [], targets: [] })
  t.same(readDomain(domain(`<disk type='vhostuser' device='disk'><backingStore>${'<source type="unix" path="/run/y.sock"/>'}</backingStore><target dev='vda'/></disk>`)).vhostDisks, [], 'a socket that is not the disk\'s own')
  t.end()
})

t.test('names survive the way there and back', (t) => {
  for (const socket of ['/run/a b.sock', '/run/<&>"\'.sock', '/run/ü.sock']) t.equal(readDomain(domain(disk(socket))).vhostDisks[0]!.socket, socket)
  t.match(diskXml({ socket: '/s', target: 'vda', queues: 4 }), "<driver name='qemu' type='raw' queues='4'/>")
  t.end()
})

t.test('the template has what the command prints', (t) => {
  const template = readFileSync(join(ROOT, 'packaging/libvirt/domain.xml'), 'utf8'), bare = (text: string): string => text.replace(/<!--[^]*?-->/g, '').replace(/\s+/g, '')
  t.ok(bare(template).includes(bare(MEMORY_BACKING)))
  t.ok(bare(template).includes(bare(disk('/run/holdfast/db01.sock'))))
  t.match(readDomain(template).vhostDisks, [{ socket: '/run/holdfast/db01.sock' }])
  t.end()
})

t.test('what is no domain is a usage error', (t) => {
  for (const [xml, sentence] of [['', /cannot be read/], ['<network/>', /this is <network>/], ['<domain><name>', /cannot be read/], ['no xml', /cannot be read/]] as const) {
    t.throws(() => readDomain(xml), { exitCode: EXIT.usage, message: sentence }, xml)
  }
  t.end()
})

t.test('names of disks', (t) => {
  t.equal(freeTarget([]), 'vda')
  t.equal(freeTarget(['vda', 'sda', 'vdc']), 'vdb')
  const letters = [...'abcdefghijklmnopqrstuvwxyz'].map((letter) => `vd${letter}`)
  t.equal(freeTarget(letters), 'vdaa')
  t.equal(freeTarget([...letters, 'vdaa']), 'vdab')
  t.end()
})
