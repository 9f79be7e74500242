/** Options that many commands have, and what comes of them. */
import { Option } from 'commander'

export interface ControlArguments { readonly control?: string; readonly config?: string; readonly json: boolean }
export interface ProgressArguments extends ControlArguments { readonly progress: boolean }

/** Which daemon a command talks to. */
export const controlOptions = (): Option[] => [
  new Option('--control <socket>', 'the daemon\'s control socket (default: /run/holdfast/control.sock)').conflicts('config'),
  new Option('--config <file>', 'the daemon\'s configuration, which names its control socket'),
]
export const jsonOption = (): Option => new Option('--json', 'for scripts').default(false)
export const progressOption = (): Option => new Option('-p, --progress', 'show progress').default(false)
