/** Users and groups by name, as the name service of this machine knows them, and whom a file belongs to. */
import koffi from 'koffi'
import { chmodSync, chownSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'

const libc = koffi.load('libc.so.6')
const passwd = koffi.struct('holdfast_passwd', { pw_name: 'char *', pw_passwd: 'char *', pw_uid: 'uint', pw_gid: 'uint', pw_gecos: 'char *', pw_dir: 'char *', pw_shell: 'char *' })
const group = koffi.struct('holdfast_group', { gr_name: 'char *', gr_passwd: 'char *', gr_gid: 'uint', gr_mem: 'void *' })
const getpwnam = libc.func('holdfast_passwd *getpwnam(const char *name)')
const getgrnam = libc.func('holdfast_group *getgrnam(const char *name)')

/** To whom a socket is given; absent: as it comes into being. `mode`: permission bits. */
export interface Owner { readonly user?: string | undefined; readonly group?: string | undefined; readonly mode?: number | undefined }

/** Throws Failure(config) for a name that nobody has. `key`: where it stands, for people. */
export function userId(name: string, key: string): number {
  if (/^\d+$/.test(name)) return Number(name)
  const found: unknown = getpwnam(name)
  if (found === null) throw new Failure(EXIT.config, `${key} = "${name}": there is no such user on this host`)
  return (koffi.decode(found, passwd) as { pw_uid: number }).pw_uid
}

export function groupId(name: string, key: string): number {
  if (/^\d+$/.test(name)) return Number(name)
  const found: unknown = getgrnam(name)
  if (found === null) throw new Failure(EXIT.config, `${key} = "${name}": there is no such group on this host`)
  return (koffi.decode(found, group) as { gr_gid: number }).gr_gid
}

/** Throws Failure(config). `keys`: how the configuration calls user and group. */
export function giveTo(path: string, owner: Owner, keys: { readonly user: string; readonly group: string }): void {
  const uid = owner.user === undefined ? -1 : userId(owner.user, keys.user), gid = owner.group === undefined ? -1 : groupId(owner.group, keys.group)
  try {
    // Who it belongs to first: nobody may use it in between.
    if (uid >= 0 || gid >= 0) chownSync(path, uid, gid)
    if (owner.mode !== undefined) chmodSync(path, owner.mode)
  } catch (error) {
    const whom = [owner.user ?? [], owner.group ?? []].flat().join(':')
    throw new Failure(EXIT.config, `${path} cannot be given to ${whom}: ${(error as Error).message}; run the daemon as root, or as a member of that group`, { cause: error })
  }
}
