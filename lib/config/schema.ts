/** The configuration file: every key, its range and its default, in one place. docs/configuration.md is tested against it. */
import { z } from 'zod'
import type { BlockdevNode } from '../backing/blockdev/node.js'
import { limits } from '../limits.js'
import { parseAddress, parseDuration, parseSize } from './units.js'

/** A string with a unit, read into a number between two others. The message is the same whatever is wrong with it. */
function quantity(parse: (text: string) => number | null, min: string, max: string, message: string) {
  const [least, most] = [parse(min)!, parse(max)!]
  return z.string({ error: message }).transform((value, context) => {
    const amount = parse(value)
    if (amount !== null && amount >= least && amount <= most) return amount
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}
const size = (min: string, max: string) => quantity(parseSize, min, max, `must be a size from ${min} to ${max}, like "16MiB" or "8GiB"`)
const duration = (min: string, max: string) => quantity(parseDuration, min, max, `must be a duration from ${min} to ${max}, like "500ms" or "2s"`)

const ADDRESS = 'must be "host:port" or "[ipv6]:port", with a port from 1 to 65535'
const address = z.string({ error: ADDRESS }).transform((value, context) => {
  const parsed = parseAddress(value)
  if (parsed !== null) return parsed
  context.addIssue({ code: 'custom', message: ADDRESS })
  return z.NEVER
})

const path = z.string({ error: 'must be a path' }).min(1, 'must be a path').refine((text) => !text.includes('\0'), 'must be a path')
const BACKING = 'must be a path, or a table with blockdev, which has a driver, in QEMU\'s words: { blockdev = { driver = "nbd", ... } }'
/** QEMU knows what it may contain. */
const blockdev = z.looseObject({ driver: z.string().min(1) }).refine((table) => z.json().safeParse(table).success)
  .transform((table) => table as unknown as BlockdevNode)
const backing = z.union([path, z.strictObject({ blockdev })], { error: BACKING })
const flag = z.boolean({ error: 'must be true or false' })
const pattern = (regex: RegExp, message: string) => z.string({ error: message }).regex(regex, message)
const hostId = pattern(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be a host id: small letters, digits and "-", at most 63')
const givenName = pattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a name: letters, digits, ".", "_" and "-", at most 64, the first a letter or digit')
const copies = `must be a whole number from 0 to ${limits.copiesMax}`
const iops = 'must be a whole number from 1 to 10000000'
const account = pattern(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, 'must be the name or number of a user or group')
const mode = pattern(/^0?[0-7]{3}$/, 'must be a file mode, like "0660"').transform((text) => Number.parseInt(text, 8))
const fraction = 'must be a number from 0 to 1'

export const hostSchema = z.strictObject({
  name: hostId,
  fault_domain: givenName.optional(),
  control_socket: path.default('/run/holdfast/control.sock'),
  control_group: account.optional(),
  status_socket: path.optional(),
  status_group: account.optional(),
  socket_user: account.optional(),
  socket_group: account.optional(),
  socket_mode: mode.optional(),
  low_latency: flag.default(false),
})

export const regionSchema = z.strictObject({
  path,
  size: size('5MiB', '1920GiB').optional(),
  segment_size: size('2MiB', '256MiB').default(limits.segmentBytesDefault),
  verify: flag.default(true),
  scrub_every: duration('0s', '365d').optional(),
})

export const replicationSchema = z.strictObject({
  listen: address.optional(),
  advertise: address.optional(),
  certificate: path.optional(),
  key: path.optional(),
  ca: path.optional(),
  insecure: flag.default(false),
})

export const httpSchema = z.strictObject({
  listen: address.default({ address: '127.0.0.1', port: 7480 }),
  token_file: path.optional(),
  certificate: path.optional(),
  key: path.optional(),
})

export const clusterSchema = z.strictObject({ store: path.optional() })

export const peerSchema = z.strictObject({ name: hostId, address, fault_domain: givenName.optional() })

export const timingSchema = z.strictObject({
  renew: duration('50ms', '60s').default(2000),
  fail_after: duration('200ms', '10m').default(10_000),
  dead_after: duration('400ms', '20m').default(20_000),
  quarantine: duration('200ms', '1h').default(60_000),
  peer_deadline: duration('100ms', '60s').default(5000),
  slow_peer: duration('1ms', '10s').default(200),
  power_loss_wait: duration('0s', '1h').default(120_000),
})

const COMMAND = 'must be a list of words, the first an absolute path'
export const fenceSchema = z.strictObject({
  command: z.array(z.string({ error: COMMAND }), { error: COMMAND }).min(1, COMMAND).max(64, COMMAND).refine(([first = '']) => first.startsWith('/'), COMMAND),
  timeout: duration('100ms', '10m').default(30_000),
  storage: flag.default(false),
})

export const volumeSchema = z.strictObject({
  name: givenName,
  backing,
  socket: path,
  socket_user: account.optional(),
  socket_group: account.optional(),
  socket_mode: mode.optional(),
  claims: path.optional(),
  policy: z.enum(['write-back', 'write-through']).default('write-back'),
  copies: z.number({ error: copies }).int(copies).min(0, copies).max(limits.copiesMax, copies).default(1),
  replicas: z.array(hostId, { error: 'must be a list of peers\' names' }).max(limits.peersMax).optional(),
  durability: z.enum(['flush', 'write']).default('flush'),
  serial: pattern(/^[\x21-\x7e]{0,20}$/, 'must be at most 20 printable ASCII characters without a space').optional(),
  block_size: z.union([z.literal(512), z.literal(4096)], { error: 'must be 512 or 4096' }).default(512),
  read_only: flag.default(false),
  discard: flag.default(true),
  limit_iops: z.number({ error: iops }).int(iops).min(1, iops).max(10_000_000, iops).optional(),
  limit_bandwidth: size('4KiB', '1TiB').optional(),
  limit_burst: duration('1ms', '60s').default(1000),
  destage_delay: duration('1ms', '1h').default(1000),
  destage_at: size('1MiB', '1TiB').default(64 * 1024 * 1024),
  max_dirty_age: duration('1s', '24h').optional(),
  read_cache: flag.default(true),
  quota: size('16MiB', '1920GiB').optional(),
  order: z.enum(['journal', 'flush', 'cut']).optional(),
  journal: path.optional(),
  domain: givenName.optional(),
  guard: flag.default(true),
})

export const dangerousBackingSchema = z.strictObject({
  read_delay: duration('0ms', '60s').default(0),
  write_delay: duration('0ms', '60s').default(0),
  flush_delay: duration('0ms', '60s').default(0),
  error_rate: z.number({ error: fraction }).min(0, fraction).max(1, fraction).default(0),
  error_file: path.optional(),
})

export const dangerSchema = z.strictObject({
  enabled: flag.default(false),
  backing: z.record(z.string(), dangerousBackingSchema).default({}),
})

export const configSchema = z.strictObject({
  host: hostSchema,
  region: regionSchema,
  replication: replicationSchema.optional(),
  cluster: clusterSchema.prefault({}),
  http: httpSchema.optional(),
  peer: z.array(peerSchema).max(limits.peersMax, `must be at most ${limits.peersMax} peers`).default([]),
  timing: timingSchema.prefault({}),
  fence: fenceSchema.optional(),
  volume: z.array(volumeSchema).max(limits.regionVolumesMax, `must be at most ${limits.regionVolumesMax} volumes`).default([]),
  danger_zone: dangerSchema.prefault({}),
})

export type HostConfig = z.output<typeof configSchema>
export type VolumeConfig = HostConfig['volume'][number]
