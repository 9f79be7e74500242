/** Reads and checks a configuration file. Every problem names file, key, value and what is legal; all at once. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { TomlError, parse } from 'smol-toml'
import { withAbsoluteFiles } from '../backing/blockdev/node.js'
import { EXIT, Failure } from '../core/failure.js'
import { explain } from './explain.js'
import { relationProblems } from './relations.js'
import { configSchema, type HostConfig } from './schema.js'

/** A file as it was read, so that it can be checked again with more volumes than it has. */
export interface ConfigDocument { readonly path: string; readonly raw: Readonly<Record<string, unknown>>; readonly config: HostConfig }

/** A [[volume]] as it is written, whoever wrote it. */
export type VolumeSection = Readonly<Record<string, unknown>>

/** Throws Failure(config) with one line per problem. */
export const loadConfig = (path: string): HostConfig => loadDocument(path).config

/** Throws Failure(config) with one line per problem. */
export function loadDocument(path: string): ConfigDocument {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new Failure(EXIT.config, `configuration ${path} cannot be read: ${missing ? 'there is no such file' : (error as Error).message}; ` +
      'docs/configuration.md has one to start from', { cause: error })
  }
  const raw = readToml(text, path)
  return { path, raw, config: check(raw, path, path) }
}

/** Relative paths in the text count from the directory of `path`. */
export const parseConfig = (text: string, path: string): HostConfig => check(readToml(text, path), path, path)

/** The document with one volume more. Throws Failure(config), one line per problem, each of which begins with `whose`. */
export function withVolume(document: ConfigDocument, section: VolumeSection, whose: string): ConfigDocument {
  const raw = { ...document.raw, volume: [...(document.raw['volume'] as VolumeSection[] | undefined ?? []), section] }
  return { path: document.path, raw, config: check(raw, document.path, whose) }
}

function readToml(text: string, path: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw new Failure(EXIT.config, `${path}, line ${error.line}: not TOML: ${error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '')}`)
  }
}

function check(raw: unknown, path: string, whose: string): HostConfig {
  const fail = (problems: readonly string[]): never => { throw new Failure(EXIT.config, problems.map((p) => `${whose}: ${p}`).join('\n')) }
  const parsed = configSchema.safeParse(raw)
  if (!parsed.success) return fail(parsed.error.issues.flatMap((issue) => explain(issue, raw)))
  const config = withAbsolutePaths(parsed.data, dirname(resolve(path)))
  const problems = relationProblems(config)
  return problems.length > 0 ? fail(problems) : config
}

/** What a daemon does must not depend on the directory that it was started in. */
function withAbsolutePaths(config: HostConfig, base: string): HostConfig {
  const absolute = <T extends object, K extends keyof T>(section: T, keys: readonly K[]): T => {
    const copy = { ...section }
    for (const key of keys) if (typeof copy[key] === 'string') copy[key] = resolve(base, copy[key]) as T[K]
    return copy
  }
  return {
    ...config,
    host: absolute(config.host, ['control_socket', 'status_socket']),
    region: absolute(config.region, ['path']),
    replication: config.replication === undefined ? undefined : absolute(config.replication, ['certificate', 'key', 'ca']),
    cluster: absolute(config.cluster, ['store']),
    http: config.http === undefined ? undefined : absolute(config.http, ['token_file', 'certificate', 'key']),
    volume: config.volume.map((volume) => ({
      ...absolute(volume, ['backing', 'socket', 'claims', 'journal']),
      ...(typeof volume.backing === 'string' ? {} : { backing: { blockdev: withAbsoluteFiles(volume.backing.blockdev, base) } }),
    })),
    danger_zone: {
      ...config.danger_zone,
      backing: Object.fromEntries(Object.entries(config.danger_zone.backing).map(([name, b]) => [name, absolute(b, ['error_file'])])),
    },
  }
}
