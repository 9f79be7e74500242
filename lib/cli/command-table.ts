/** The program's commands as data, for what is generated from them: man pages and completions. */
import type { Argument, Command, Option } from 'commander'

export interface Value {
  /** As the help shows it, like "<file>"; null for a flag. */
  readonly shown: string | null
  readonly choices: readonly string[]
  /** It is a path on this host. */
  readonly isPath: boolean
}

export interface OptionEntry { readonly names: readonly string[]; readonly value: Value; readonly description: string }
export interface ArgumentEntry { readonly name: string; readonly value: Value; readonly description: string; readonly many: boolean }

export interface CommandEntry {
  /** "holdfast volume flush" */
  readonly path: string
  readonly usage: string
  readonly description: string
  readonly options: readonly OptionEntry[]
  readonly arguments: readonly ArgumentEntry[]
  readonly subcommands: readonly CommandEntry[]
  /** What the help says after the options. */
  readonly more: string
}

/** Words of help texts that stand for a path. */
const PATH = /<(path|file|socket|directory|image|region|recording)(\.\.\.)?>/

export function entryOf(command: Command, above = ''): CommandEntry {
  const path = `${above}${command.name()}`, help = command.createHelp()
  const options = help.visibleOptions(command).map((option): OptionEntry => ({
    names: [option.long, option.short].filter((name) => name != null), value: valueOf(option), description: help.optionDescription(option),
  }))
  return {
    path, usage: help.commandUsage(command), description: help.commandDescription(command), options,
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(), value: argumentValue(argument), description: help.argumentDescription(argument), many: argument.variadic,
    })),
    subcommands: help.visibleCommands(command).filter((sub) => sub.name() !== 'help').map((sub) => entryOf(sub, `${path} `)), more: afterOptions(command),
  }
}

const valueOf = (option: Option): Value => {
  const shown = /[<[].*[>\]]/.exec(option.flags)?.[0] ?? null
  return { shown, choices: option.argChoices ?? [], isPath: shown !== null && PATH.test(shown) }
}

const argumentValue = (argument: Argument): Value => {
  const shown = `<${argument.name()}>`
  return { shown, choices: argument.argChoices ?? [], isPath: PATH.test(shown) || argument.name() === 'images' }
}

/** Commander prints it and does not give it out: what is printed and is no part of the help itself. */
function afterOptions(command: Command): string {
  const { writeOut } = command.configureOutput()
  let printed = ''
  command.configureOutput({ writeOut: (text) => { printed += text } })
  command.outputHelp()
  command.configureOutput(writeOut === undefined ? {} : { writeOut })
  return printed.slice(command.helpInformation().length).trim()
}

/** Itself, and all below. */
export const allOf = (entry: CommandEntry): CommandEntry[] => [entry, ...entry.subcommands.flatMap(allOf)]
