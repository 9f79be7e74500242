/** Guest memory in huge pages: its mappings must begin and end where a huge page does. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { atExit } from '../../fixtures/lab/exit.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const MIB = 256, PAGES = MIB / 2
const FOLDER = '/sys/kernel/mm/hugepages/hugepages-2048kB'
const RESERVED = `${FOLDER}/nr_hugepages`
const number = (file: string): number => Number(readFileSync(file, 'utf8'))
/** Some that are not in use yet may be promised already. */
const free = (): number => number(`${FOLDER}/free_hugepages`) - number(`${FOLDER}/resv_hugepages`)

/** Takes what is missing from the machine until this process ends. Why the test cannot run, or false. */
function reserve(): false | string {
  if (!existsSync(RESERVED)) return 'this kernel has no huge pages of 2 MiB'
  if (free() >= PAGES) return false
  const before = number(RESERVED), had = free()
  try {
    atExit(() => writeFileSync(RESERVED, String(before)))
    writeFileSync(RESERVED, String(before + PAGES - had))
  } catch (error) {
    return `${had} huge pages are free here, ${PAGES} are needed, and they cannot be reserved: ${(error as Error).message}`
  }
  return free() >= PAGES ? false : `the kernel gave ${free()} of ${PAGES} huge pages: its memory is in pieces, or in use`
}

const missing = requires('qemu-system-x86_64', 'guest')

const TASK = 'stamper /dev/vda 6 0 200 65536 discard && stamper --verify /dev/vda 6 0 200 65536 discard; echo TASK-DONE'

t.test('a guest in huge pages', { skip: missing || reserve(), timeout: 40_000 }, async (t) => {
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
