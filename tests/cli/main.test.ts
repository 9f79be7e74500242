import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { LAUNCHER, Running, holdfast, workDirectory } from './holdfast.js'

t.test('usage errors: one sentence, and where the help is', async (t) => {
  for (const [args, sentence] of [
    [['bogus'], 'holdfast: unknown command \'bogus\''],
    [['--bogus'], 'holdfast: unknown option \'--bogus\''],
    [['serve'], 'holdfast: required option \'--config <file>\' not specified'],
    [['volume', 'flush'], 'holdfast: missing required argument \'name\''],
    [['status', '--control', 'a', '--config', 'b'], 'holdfast: option \'--control <socket>\' cannot be used with option \'--config <file>\''],
    [['inspect'], 'holdfast: missing required argument \'region\''],
    [['salvage', '--backing', 'a', '--out', 'b'], 'holdfast: required option \'--region <path...>\' not specified'],
    [['blk', '--fd', 'three'], 'holdfast: option \'--fd <number>\' argument \'three\' is invalid. A whole number from 0 to 1000000 is needed.'],
    [['blk', '--cache-size', '4GB'], 'holdfast: option \'--cache-size <size>\' argument \'4GB\' is invalid. A size is a number with a unit, like 512MiB or 8GiB.'],
    [['blk', '--quarantine', '60'], 'holdfast: option \'--quarantine <time>\' argument \'60\' is invalid. A duration is a number with a unit, like 500ms or 60s.'],
    [['blk', '--durability', 'never'], 'holdfast: option \'--durability <when>\' argument \'never\' is invalid. Allowed choices are flush, write.'],
  ] as const) {
    const { code, stdout, stderr } = await holdfast(...args)
    t.same([code, stdout, stderr], [EXIT.usage, '', `${sentence}\n(--help shows what is possible)\n`], args.join(' '))
  }
})

t.test('without a command: the help, as an error', async (t) => {
  for (const args of [[], ['volume'], ['pki']]) {
    const { code, stdout, stderr } = await holdfast(...args)
    t.same([code, stdout], [EXIT.usage, ''])
    t.match(stderr, /^Usage: holdfast/)
  }
})

t.test('help and version', async (t) => {
  const { version } = JSON.parse(readFileSync(join(LAUNCHER, '../../package.json'), 'utf8')) as { version: string }
  t.same(await holdfast('--version'), { code: EXIT.done, stdout: `${version}\n`, stderr: '' })
  for (const command of [['blk'], ['serve'], ['status'], ['completion'], ...['list', 'show', 'add', 'remove', 'flush', 'freeze', 'thaw', 'drain', 'policy', 'resize', 'verify'].map((verb) => ['volume', verb]), ['volume', 'takeover'], ['host', 'ok-to-stop'], ['host', 'maintenance'], ['host', 'copies'], ['peer', 'add'], ['peer', 'revoke'], ['peer', 'list'], ['peer', 'show'], ['scrub'], ['doctor'], ['inspect'], ['salvage'], ['sim'], ['libvirt', 'xml'], ['libvirt', 'hook'], ['pki', 'issue']]) {
    const { code, stdout } = await holdfast(...command, '--help')
    t.equal(code, EXIT.done)
    t.match(stdout, /Examples?(, .*)?:\n {2}.*holdfast /, command.join(' '))
  }
})

t.test('QEMU\'s conventions: capabilities as JSON, whatever else is asked', async (t) => {
  for (const more of [[], ['--fd', 'x', '--blk-file'], ['--bogus']]) {
    const { code, stdout, stderr } = await holdfast('blk', ...more, '--print-capabilities')
    t.same([code, JSON.parse(stdout), stderr], [EXIT.done, { type: 'block', features: ['read-only', 'blk-file'] }, ''])
  }
})

t.test('the launcher works through links, and says when nothing is built', async (t) => {
  const directory = workDirectory(t)
  symlinkSync(LAUNCHER, join(directory, 'first'))
  symlinkSync('first', join(directory, 'holdfast'))
  t.match(await new Running(['--version'], { launcher: join(directory, 'holdfast') }).ended, { code: EXIT.done })
  mkdirSync(join(directory, 'copy/bin'), { recursive: true })
  const copy = join(directory, 'copy/bin/holdfast')
  copyFileSync(LAUNCHER, copy)
  chmodSync(copy, 0o755)
  const { code, stderr } = await new Running(['--version'], { launcher: copy }).ended
  t.equal(code, EXIT.config)
  t.match(stderr, `is not built; run: make -C ${join(directory, 'copy')}\n`)
})

t.test('pki: an authority, a host, and the lines for its configuration', async (t) => {
  const directory = join(workDirectory(t), 'pki')
  t.match(await holdfast('pki', 'issue', directory, 'hv07'), { code: EXIT.config, stderr: `holdfast: ${directory}/ca.key does not exist; run "holdfast pki init" there first\n` })
  t.match(await holdfast('pki', 'init', directory), { code: EXIT.done, stdout: /next: holdfast pki issue/ })
  t.match(await holdfast('pki', 'init', directory), { code: EXIT.unsafe })
  t.match(await holdfast('pki', 'issue', directory, '../x'), { code: EXIT.usage, stderr: 'holdfast: "../x" is not a host id: small letters, digits and "-", at most 63\n' })
  const { code, stdout } = await holdfast('pki', 'issue', directory, 'hv07', '10.0.0.7')
  t.same([code, stdout], [EXIT.done, ['certificate = "hv07.crt"', 'key = "hv07.key"', 'ca = "ca.crt"', ''].join('\n').replaceAll('= "', `= "${directory}/`)])
})

t.test('docs/exit-codes.md lists every code', async (t) => {
  const rows = [...readFileSync(join(LAUNCHER, '../../docs/exit-codes.md'), 'utf8').matchAll(/^\| (\d+) \| (\w+) \|/gm)]
  t.same(Object.fromEntries(rows.map((row) => [row[2], Number(row[1])])), EXIT)
  const { stdout } = await holdfast('--help')
  for (const code of Object.values(EXIT)) t.match(stdout, new RegExp(`\\b${code} [a-z]`))
})

t.test('a reader that goes away is no error', async (t) => {
  const running = new Running(['blk', '--print-capabilities'])
  running.child.stdout!.destroy()
  t.match(await running.ended, { code: EXIT.done, stderr: '' })
})
