/** A guest without MSI: QEMU hands interrupts over in another way, and the device must not care. */
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const TASK = `
echo "VERSION $(cut -c33 /sys/block/vda/device/features)"
echo "IRQ $(grep virtio /proc/interrupts)"
stamper /dev/vda 4 0 300 65536 discard && stamper --verify /dev/vda 4 0 300 65536 discard
echo TASK-DONE`

// A legacy device has no VERSION_1, and its driver starts the rings in its own way.
const KINDS = [['a guest with pci=nomsi', []], ['the same on a legacy device', ['-global', 'vhost-user-blk-pci.disable-modern=on']]] as const

for (const [what, extra] of KINDS) {
  t.test(what, { skip: requires('qemu-system-x86_64', 'guest'), timeout: 40_000 }, async (t) => {
    const work = new Workspace('nomsi')
    t.teardown(() => work.close())
    const image = work.image('disk.raw', 64 * 1024 * 1024), socket = work.file('v.sock')
    const cache = ['--cache', work.file('region'), '--cache-size', '64MiB']
    const daemon = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, ...cache])
    const guest = new Guest(work, { name: 'vm', socket, task: TASK, append: 'pci=nomsi', extra, limitSeconds: 38, memory: '256M' })
    await guest.waitFor(/TASK-DONE/, 35_000)
    t.match(guest.serial, /^IRQ .*IO-APIC.*virtio/m, 'one interrupt line for everything')
    t.notMatch(guest.serial, /PCI-MSI/)
    t.match(guest.serial, extra.length === 0 ? /^VERSION 1$/m : /^VERSION 0$/m)
    t.match(guest.serial, /^STAMPS bad=0 of/m)
    t.notMatch(guest.serial, /I\/O error/)
    t.notMatch(daemon.output, /is broken/)
  })
}
