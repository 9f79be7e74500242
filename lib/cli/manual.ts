/** Man pages, in roff's man macros: one for the program, and one for each command. */
import { allOf, type CommandEntry, type Value } from './command-table.js'

export interface ManualPage { readonly file: string; readonly text: string }

export function manualPages(top: CommandEntry, version: string): ManualPage[] {
  return allOf(top).map((entry) => ({ file: `${pageName(entry)}.1`, text: page(entry, top, version) }))
}

const pageName = ({ path }: CommandEntry): string => path.replaceAll(' ', '-')

/** Nothing in a text is a request, and a dash stays one that can be copied. */
const escaped = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^(?=['.])/gm, '\\&')
const bold = (text: string): string => `\\fB${escaped(text)}\\fR`

function page(entry: CommandEntry, top: CommandEntry, version: string): string {
  const lines = [
    `.TH ${pageName(entry).toUpperCase()} 1 "" "holdfast ${version}" "Holdfast"`,
    '.SH NAME', `${escaped(pageName(entry))} \\- ${escaped(entry.description.replace(/\.$/, ''))}`,
    '.SH SYNOPSIS', ...synopsis(entry),
    ...section('DESCRIPTION', prose(entry)), ...section('ARGUMENTS', items(entry.arguments.map(({ name, value, description }) => [bold(name), described(description, value)]))),
    ...section('OPTIONS', items(entry.options.map(({ names, value, description }) => [named(names, value), described(description, value)]))),
    ...section('COMMANDS', items(entry.subcommands.map((sub) => [bold(`${pageName(sub)}(1)`), escaped(sub.description)]))),
    ...headed(entry),
    '.SH SEE ALSO', seeAlso(entry, top),
  ]
  return `${lines.join('\n')}\n`
}

const synopsis = ({ path, usage }: CommandEntry): string[] => [`${bold(path)} ${escaped(usage.slice(path.length + 1))}`.trimEnd()]
const section = (title: string, lines: readonly string[]): string[] => lines.length === 0 ? [] : [`.SH ${title}`, ...lines]
const items = (pairs: readonly (readonly [string, string])[]): string[] => pairs.flatMap(([term, text]) => ['.TP', term, text])
const named = (names: readonly string[], { shown }: Value): string => `${names.map(bold).join(', ')}${shown === null ? '' : ` \\fI${escaped(shown)}\\fR`}`
const described = (text: string, { choices }: Value): string => escaped(text === '' ? choices.join(', ') : text)

/** Paragraphs and headings ("Example:") of what the help says after the options. */
const HEADING = /^(Examples?|Exit codes)(?:, .*)?:$/
const blocks = ({ more }: CommandEntry): string[] => more.split(/\n{2,}/).filter((block) => block !== '')
const isHeaded = (block: string): boolean => HEADING.test(block.split('\n')[0]!)

const prose = (entry: CommandEntry): string[] => blocks(entry).filter((block) => !isHeaded(block)).flatMap((block) => ['.PP', ...escaped(block).split('\n')])

function headed(entry: CommandEntry): string[] {
  return blocks(entry).filter(isHeaded).flatMap((block) => {
    const [first = '', ...rest] = block.split('\n'), title = HEADING.exec(first)![1]!
    return [`.SH ${/^Example/.test(title) ? 'EXAMPLES' : title.toUpperCase()}`, ...(/, /.test(first) ? [escaped(first)] : []), '.nf', ...rest.map((line) => escaped(line.replace(/^ {2}/, ''))), '.fi']
  })
}

function seeAlso(entry: CommandEntry, top: CommandEntry): string {
  const above = allOf(top).filter((other) => entry.path.startsWith(`${other.path} `)), beside = above.at(-1)?.subcommands.filter((other) => other !== entry) ?? []
  const names = [...above, ...(above.length > 1 ? beside : [])].map((other) => bold(`${pageName(other)}(1)`))
  return [...names, escaped('/usr/share/doc/holdfast')].join(',\n')
}
