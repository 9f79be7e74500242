/** What the pages for people quote and refer to is there. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { ROOT } from '../../fixtures/lab/workspace.js'

const DOCS = join(ROOT, 'docs')
const read = (name: string): string => readFileSync(join(DOCS, name), 'utf8')

/** The program's words, with literals that a line end divides joined. */
function sources(): string {
  const files = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).map((name) => readFileSync(join(ROOT, 'lib', name), 'utf8'))
  files.push(readFileSync(join(ROOT, 'packaging/libvirt/hooks/holdfast'), 'utf8'))
  return files.join('\n').replace(/['`] \+\s*['`]/g, '').replaceAll('\\\'', '\'')
}

t.test('every sentence that is quoted is one of the program\'s', (t) => {
  const words = sources(), quoted = [...read('troubleshooting.md').matchAll(/^> (.+)$/gm)].map(([, line]) => line!)
  t.ok(quoted.length > 40, `${quoted.length} sentences`)
  for (const line of quoted) {
    // Names and numbers are left out, and so is what little stands between two of them.
    const parts = line.split('…').map((part) => part.trim()).filter((part) => part.length > 3)
    t.ok(parts.length > 0, line)
    for (const part of parts) t.ok(words.includes(part), `${line}: "${part}"`)
  }
  t.end()
})

const PAGES = readdirSync(DOCS).filter((name) => name.endsWith('.md'))
/** As the usual renderers make it of a heading. */
const anchor = (heading: string): string => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
const anchorsOf = (path: string): string[] => [...readFileSync(path, 'utf8').replace(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading!))

t.test('every link between the pages leads somewhere', (t) => {
  for (const page of ['README.md', ...PAGES].map((name) => join(DOCS, name)).concat(join(ROOT, 'README.md'), join(ROOT, 'ARCHITECTURE.md'))) {
    for (const [, target = '', part] of readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]*)(?:#([^)\s]+))?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const path = target === '' ? page : join(dirname(page), target)
      t.ok(existsSync(path), `${page}: ${target}`)
      if (part !== undefined) t.ok(anchorsOf(path).includes(part), `${page}: ${target}#${part}`)
    }
  }
  t.end()
})

t.test('the index names every page', (t) => {
  const index = read('README.md')
  for (const page of PAGES) if (page !== 'README.md') t.ok(index.includes(`(${page})`), page)
  t.end()
})
