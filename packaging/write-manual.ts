/** Writes the man pages and the completion of the program as it was built: write-manual.js DIRECTORY. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { entryOf } from '../lib/cli/command-table.js'
import { bashCompletion } from '../lib/cli/completion.js'
import { manualPages } from '../lib/cli/manual.js'
import { program } from '../lib/cli/program.js'
import { VERSION } from '../lib/daemon/version.js'

const directory = process.argv[2]
if (directory === undefined) throw new Error('write-manual.js needs the directory to write to')
const top = entryOf(program())
mkdirSync(join(directory, 'man1'), { recursive: true })
for (const { file, text } of manualPages(top, VERSION)) writeFileSync(join(directory, 'man1', file), text)
writeFileSync(join(directory, 'holdfast.bash'), bashCompletion(top))
