/**
 * A block device in QEMU's own words: the table that `-blockdev` takes, as far as Holdfast must understand it. What is
 * not looked at here is QEMU's to accept or refuse.
 */
import { isAbsolute, resolve } from 'node:path'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export interface BlockdevNode { readonly driver: string; readonly [option: string]: Json }

const isTable = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isNode = (value: Json | undefined): value is BlockdevNode => isTable(value) && typeof value['driver'] === 'string'

/** Format and filter drivers from the top down to the protocol, which is where the bytes are. */
function chain(node: BlockdevNode): BlockdevNode[] {
  const below = node['file']
  return isNode(below) ? [node, ...chain(below)] : [node]
}
const protocolOf = (node: BlockdevNode): BlockdevNode => chain(node).at(-1)!

/** Drivers whose writes end with the process that made them: threads in pwrite keep it from ending before. */
const LOCAL = new Set(['file', 'host_device'])

/** False where a write of a killed process may still be on its way to the storage. */
export function isLocal(node: BlockdevNode): boolean {
  const protocol = protocolOf(node)
  return LOCAL.has(protocol.driver) && protocol['aio'] !== 'io_uring'
}

/** Options that would break a promise, each with what is wrong and what to do; none when all is well. */
export function nodeProblems(node: BlockdevNode): string[] {
  const problems: string[] = []
  const look = (value: Json, at: string): void => {
    if (Array.isArray(value)) value.forEach((each: Json, i) => look(each, `${at}${i + 1}.`))
    if (!isTable(value)) return
    const cache = value['cache'], delay = value['reconnect-delay']
    if (isTable(cache) && cache['direct'] === false) problems.push(`${at}cache.direct = false would show one host what another has overwritten; leave it out`)
    if (isTable(cache) && cache['no-flush'] === true) problems.push(`${at}cache.no-flush = true would make every flush a lie; leave it out`)
    if (delay !== undefined && delay !== 0) {
      problems.push(`${at}reconnect-delay hides that the server was away, and what it forgot; leave it out: what fails meanwhile is written again`)
    }
    for (const [key, below] of Object.entries(value)) look(below, `${at}${key}.`)
  }
  look(node, '')
  return problems
}

/** Relative file names count from `base`, because the process that opens them may start anywhere. */
export function withAbsoluteFiles(node: BlockdevNode, base: string): BlockdevNode {
  const absolute = (value: Json): Json => typeof value === 'string' && !isAbsolute(value) ? resolve(base, value) : value
  const walk = (value: Json): Json => {
    if (!isTable(value)) return value
    const names = LOCAL.has(String(value['driver'])) ? 'filename' : value['type'] === 'unix' ? 'path' : null
    return Object.fromEntries(Object.entries(value).map(([key, below]) => [key, key === names ? absolute(below) : walk(below)]))
  }
  return walk(node) as BlockdevNode
}

/** Where the bytes are, in the shortest words that name them: a path, a server, a pool and image. */
export function locationOf(node: BlockdevNode): string {
  const protocol = protocolOf(node), { filename, server, pool, image } = protocol
  if (typeof filename === 'string') return filename
  if (isTable(server)) {
    const place = server['path'] ?? `${String(server['host'])}:${String(server['port'] ?? server['export'] ?? '')}`
    return `${protocol.driver}:${String(place)}${protocol['export'] === undefined ? '' : `/${String(protocol['export'])}`}`
  }
  if (typeof pool === 'string') return `${protocol.driver}:${[pool, protocol['namespace'], image].filter((part) => part !== undefined).map(String).join('/')}`
  return canonical(protocol)
}

/** "qcow2 on /srv/db01.qcow2", "nbd:/run/san.sock" for a disk that is nothing but its protocol. */
export function describeNode(node: BlockdevNode): string {
  const formats = chain(node).slice(0, -1).map((each) => each.driver)
  return [...formats, locationOf(node)].join(' on ')
}

/** The same text for the same table, in whatever order it was written. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((each: Json) => canonical(each)).join(',')}]`
  if (!isTable(value)) return JSON.stringify(value)
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`).join(',')}}`
}

/** How a node is opened: to be used, or only looked at beside whoever uses it. */
export type OpenMode = 'write' | 'read' | 'look'

export const NODE_NAME = 'holdfast'

/** The node as it is given to QEMU: direct, giving freed space back, under our name. Children inherit it from the top. */
export function openedNode(node: BlockdevNode, mode: OpenMode): BlockdevNode {
  const cache = node['cache']
  return {
    discard: 'unmap', ...node, 'node-name': NODE_NAME, cache: { ...(isTable(cache) ? cache : {}), direct: true },
    'read-only': mode !== 'write', ...(mode === 'look' ? { 'force-share': true } : {}),
  }
}
