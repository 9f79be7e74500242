/** The configuration file: every key, its range and its default, in one place. docs/configuration.md is tested against it. */
import { z } from 'zod'
import { limits } from '../limits.js'
import { parseAddress, parseDuration, parseSize } from './units.js'

const text = z.string().min(1)
const size = (min: string, max = '8TiB') => z.string().transform((value, context) => {
  const bytes = parseSize(value)
  if (bytes === null || bytes < parseSize(min)! || bytes > parseSize(max)!) {
    context.addIssue({ code: 'custom', message: `must be a size from ${min} to ${max}, like "16MiB" or "8GiB"` })
    return z.NEVER
  }
  return bytes
})
const duration = (min: string, max: string) => z.string().transform((value, context) => {
  const ms = parseDuration(value)
  if (ms === null || ms < parseDuration(min)! || ms > parseDuration(max)!) {
    context.addIssue({ code: 'custom', message: `must be a duration from ${min} to ${max}, like "500ms" or "2s"` })
    return z.NEVER
  }
  return ms
})
const address = z.string().transform((value, context) => {
  const parsed = parseAddress(value)
  if (parsed === null) {
    context.addIssue({ code: 'custom', message: 'must be "host:port" or "[ipv6]:port"' })
    return z.NEVER
  }
  return parsed
})
const host = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be a host id: small letters, digits and "-", at most 63')
const socketPath = z.string().min(1).max(95, 'must be a path of at most 95 bytes (unix sockets allow no more)')

export const hostSchema = z.strictObject({
  name: host,
  control_socket: socketPath.default('/run/holdfast/control.sock'),
})

export const regionSchema = z.strictObject({
  path: text,
  size: size('5MiB').optional(),
  segment_size: size('2MiB', '256MiB').default(limits.segmentBytesDefault),
})

export const replicationSchema = z.strictObject({
  listen: address.optional(),
  certificate: text.optional(),
  key: text.optional(),
  ca: text.optional(),
  insecure: z.boolean().default(false),
})

export const peerSchema = z.strictObject({ name: host, address })

export const timingSchema = z.strictObject({
  renew: duration('50ms', '60s').default(2000),
  fail_after: duration('200ms', '10m').default(10_000),
  dead_after: duration('400ms', '20m').default(20_000),
  quarantine: duration('200ms', '1h').default(60_000),
  peer_deadline: duration('100ms', '60s').default(5000),
})

export const volumeSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be letters, digits, ".", "_" or "-", at most 64'),
  backing: text,
  socket: socketPath,
  claims: text.optional(),
  policy: z.enum(['write-back', 'write-through']).default('write-back'),
  copies: z.number().int().min(0).max(limits.copiesMax).default(1),
  replicas: z.array(host).max(limits.peersMax).optional(),
  durability: z.enum(['flush', 'write']).default('flush'),
  serial: z.string().regex(/^[\x21-\x7e]{0,20}$/, 'must be at most 20 printable ASCII characters').optional(),
  block_size: z.union([z.literal(512), z.literal(4096)]).default(512),
  read_only: z.boolean().default(false),
  discard: z.boolean().default(true),
  destage_delay: duration('1ms', '1h').default(1000),
  destage_at: size('1MiB', '1TiB').default(64 * 1024 * 1024),
  guard: z.boolean().default(true),
})

export const dangerSchema = z.strictObject({
  enabled: z.boolean().default(false),
  backing: z.record(z.string(), z.strictObject({
    read_delay: duration('0ms', '60s').default(0),
    write_delay: duration('0ms', '60s').default(0),
    flush_delay: duration('0ms', '60s').default(0),
    error_rate: z.number().min(0).max(1).default(0),
    error_file: text.optional(),
  })).default({}),
})

export const configSchema = z.strictObject({
  host: hostSchema,
  region: regionSchema,
  replication: replicationSchema.optional(),
  peer: z.array(peerSchema).max(limits.peersMax).default([]),
  timing: timingSchema.prefault({}),
  volume: z.array(volumeSchema).max(limits.regionVolumesMax).default([]),
  danger_zone: dangerSchema.prefault({}),
})

export type HostConfig = z.output<typeof configSchema>
export type VolumeConfig = HostConfig['volume'][number]
