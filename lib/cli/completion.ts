/** Completion for bash: a script that knows the whole table, and asks the daemon here for the names of volumes. */
import { allOf, type CommandEntry, type Value } from './command-table.js'

const quoted = (text: string): string => `'${text.replaceAll('\'', '\'\\\'\'')}'`
const words = (list: readonly string[]): string => `COMPREPLY=($(compgen -W ${quoted(list.join(' '))} -- "$cur"))`
const PATHS = 'COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null'
const VOLUMES = 'COMPREPLY=($(compgen -W "$(holdfast volume list 2>/dev/null | awk \'NR > 1 { print $1 }\')" -- "$cur"))'

export function bashCompletion(top: CommandEntry): string {
  const commands = allOf(top), name = top.path
  return `# bash completion for ${name}, made by "${name} completion bash"
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path=${name} given=0 i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i-1]}" in
      ${commands.flatMap(valuedOptions).map(quoted).join('|')}) continue ;;
    esac
    case "$path \${COMP_WORDS[i]}" in
      ${commands.slice(1).map(({ path }) => quoted(path)).join('|')}) path="$path \${COMP_WORDS[i]}"; given=0 ;;
      *' -'*) ;;
      *) given=$((given + 1)) ;;
    esac
  done
  COMPREPLY=()
  case "$path $prev" in
${commands.flatMap(valueCases).join('\n')}
  esac
  if [[ $cur == -* ]]; then
    case $path in
${commands.map((command) => `      ${quoted(command.path)}) ${words(command.options.flatMap(({ names }) => names))} ;;`).join('\n')}
    esac
    return
  fi
  case $path in
${commands.map(argumentCase).join('\n')}
  esac
}
complete -F _${name} ${name}
`
}

const ofValue = ({ choices, isPath }: Value): string => choices.length > 0 ? words(choices) : isPath ? PATHS : ':'

const valued = ({ options }: CommandEntry): CommandEntry['options'] => options.filter(({ value }) => value.shown !== null)
const valuedOptions = (command: CommandEntry): string[] => valued(command).flatMap(({ names }) => names.map((name) => `${command.path} ${name}`))

/** What follows an option that takes a value. */
const valueCases = (command: CommandEntry): string[] => valued(command).map(({ names, value }) =>
  `    ${names.map((name) => quoted(`${command.path} ${name}`)).join('|')}) ${names.includes('--volume') ? VOLUMES : ofValue(value)}; return ;;`)

/** What stands there without a dash. */
function argumentCase({ path, subcommands, arguments: args }: CommandEntry): string {
  if (subcommands.length > 0) return `    ${quoted(path)}) ${words(subcommands.map((sub) => sub.path.slice(path.length + 1)))} ;;`
  const isVolume = (name: string): boolean => name === 'name' && path.includes(' volume ') && !path.endsWith(' add')
  const cases = args.map(({ name, value, many }, i) => `${many ? '*' : i}) ${isVolume(name) ? VOLUMES : ofValue(value)} ;;`)
  return `    ${quoted(path)}) case $given in ${cases.join(' ')} esac ;;`
}
