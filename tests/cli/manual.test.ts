/** Man pages and completion say what the program can, all of it, and are legal. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { allOf, entryOf } from '../../lib/cli/command-table.js'
import { program } from '../../lib/cli/program.js'
import { ROOT } from '../../fixtures/lab/workspace.js'
import { holdfast, workDirectory } from './holdfast.js'

const top = entryOf(program()), commands = allOf(top)
const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0

t.test('a page for each command, with all its options and its examples', async (t) => {
  const directory = workDirectory(t)
  t.equal(spawnSync(process.execPath, [join(ROOT, 'dist/packaging/write-manual.js'), directory]).status, 0)
  const pages = readdirSync(join(directory, 'man1')).sort()
  t.same(pages, commands.map(({ path }) => `${path.replaceAll(' ', '-')}.1`).sort())
  for (const { path, options, more } of commands) {
    const text = readFileSync(join(directory, 'man1', `${path.replaceAll(' ', '-')}.1`), 'utf8').replaceAll('\\-', '-').replaceAll('\\e', '\\')
    for (const { names } of options) for (const name of names) t.ok(text.includes(`\\fB${name}\\fR`), `${path} ${name}`)
    for (const line of more.split('\n').filter((each) => each.startsWith('  holdfast '))) t.ok(text.includes(line.trim()), `${path}: ${line}`)
  }
  t.equal(readFileSync(join(directory, 'holdfast.bash'), 'utf8'), (await holdfast('completion', 'bash')).stdout)
})

t.test('roff has nothing to complain about', has('groff') ? {} : { skip: 'groff is not installed' }, async (t) => {
  const directory = workDirectory(t)
  spawnSync(process.execPath, [join(ROOT, 'dist/packaging/write-manual.js'), directory])
  const pages = readdirSync(join(directory, 'man1')).map((page) => join(directory, 'man1', page))
  t.same(spawnSync('groff', ['-man', '-Tutf8', '-ww', '-z', ...pages], { encoding: 'utf8' }).stderr, '')
})

t.test('bash completes commands, options, their values, arguments and volumes', async (t) => {
  const directory = workDirectory(t), bin = join(directory, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'holdfast'), '#!/bin/sh\n[ "$1 $2" = "volume list" ] && printf "NAME PHASE\\ndb01 serving\\nweb3 standby\\n"\n')
  chmodSync(join(bin, 'holdfast'), 0o755)
  writeFileSync(join(directory, 'h'), (await holdfast('completion', 'bash')).stdout)
  writeFileSync(join(directory, 'some.toml'), '')
  const complete = (...words: string[]): string => spawnSync('bash', ['-c', 'source ./h; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; echo "${COMPREPLY[*]}"', 'bash', 'holdfast', ...words],
    { cwd: directory, encoding: 'utf8', env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } }).stdout.trim()
  t.equal(complete(''), top.subcommands.map(({ path }) => path.split(' ')[1]).join(' '))
  t.equal(complete('vol'), 'volume')
  t.equal(complete('volume', 're'), 'remove resize')
  t.equal(complete('volume', 'flush', ''), 'db01 web3')
  t.equal(complete('volume', 'flush', 'w'), 'web3')
  t.equal(complete('volume', 'policy', 'db01', ''), 'write-back write-through')
  t.equal(complete('volume', 'policy', '--config', 'some.toml', 'db01', 'write-t'), 'write-through', 'the value of an option is no argument')
  t.equal(complete('volume', 'flush', '--c'), '--control --config')
  t.equal(complete('blk', '--durability', ''), 'flush write')
  t.equal(complete('serve', '--config', 'so'), 'some.toml')
  t.equal(complete('host', 'maintenance', ''), 'on off')
  t.equal(complete('scrub', '--volume', 'd'), 'db01')
  t.equal(complete('volume', 'add', ''), '', 'a new name is nobody\'s to propose')
})

t.test('another shell is refused', async (t) => {
  t.match(await holdfast('completion', 'tcsh'), { code: 64, stderr: /^holdfast: command-argument value 'tcsh' is invalid for argument 'shell'. Allowed choices are bash\./ })
})
