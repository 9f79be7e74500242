/** Guest memory in huge pages: its mappings must begin and end where a huge page does. */
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const MIB = 256
const FREE = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
const free = existsSync(FREE) ? Number(readFileSync(FREE, 'utf8')) : 0
const few = free * 2 < MIB ? `${free} huge pages of 2 MiB are free here, ${MIB / 2} are needed (sysctl vm.nr_hugepages)` : false

const TASK = 'stamper /dev/vda 6 0 200 65536 discard && stamper --verify /dev/vda 6 0 200 65536 discard; echo TASK-DONE'

t.test('a guest in huge pages', { skip: requires('qemu-system-x86_64', 'guest') || few, timeout: 40_000 }, async (t) => {
  const work = new Workspace('huge')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024), socket = work.file('v.sock')
  const daemon = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, '--cache', work.file('region'), '--cache-size', '64MiB'])
  // Instead of the memory of run-vm, whose size is no multiple of a huge page.
  const huge = `memory-backend-memfd,id=huge,size=${MIB}M,share=on,hugetlb=on,hugetlbsize=2M`
  const memory = ['-object', huge, '-machine', 'memory-backend=huge', '-m', `${MIB}M`]
  const guest = new Guest(work, { name: 'vm', socket, task: TASK, extra: memory, limitSeconds: 38, memory: `${MIB}M` })
  await guest.waitFor(/TASK-DONE/, 35_000)
  t.match(guest.serial, /^STAMPS bad=0 of/m)
  t.notMatch(guest.serial, /I\/O error/)
  t.notMatch(daemon.output, /is broken|cannot be mapped/)
})
