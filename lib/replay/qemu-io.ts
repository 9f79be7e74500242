/** The same recording as commands for qemu-io, so that QEMU's own block layer can say what the disk must look like. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stampSectors } from './stamp.js'
import type { Trace } from './trace.js'

/**
 * Writes each write's data to a file in `folder` (made when missing) and returns the commands, one a line. A discard is
 * a zeroing here: what a discarded sector reads as is else the file system's choice.
 */
export function toQemuIo(trace: Trace, folder: string): string {
  mkdirSync(folder, { recursive: true })
  const lines = trace.operations.map((o, index) => {
    const offset = o.lbaSectors * 512, length = o.lengthSectors * 512
    switch (o.kind) {
      case 'read': return `read -q ${offset} ${length}`
      case 'flush': return 'flush'
      case 'discard': case 'zero': return `write -q -z -u ${offset} ${length}`
      case 'write': {
        const path = join(folder, String(index)), data = new Uint8Array(length)
        stampSectors(data, trace.seed, index, o.lbaSectors, o.lengthSectors)
        writeFileSync(path, data)
        return `write -q -s ${path} ${offset} ${length}`
      }
    }
  })
  return `${lines.join('\n')}\nflush\n`
}
