/** Who may use which socket. */
import { spawn } from 'node:child_process'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { LAUNCHER, holdfast, type Outcome } from './holdfast.js'
import { VOLUME, place } from './volumes-lab.js'

const NOBODY = 65534, READERS = 60001, OPERATORS = 60002, GUESTS = 60003
const root = process.getuid?.() === 0 ? {} : { skip: 'only root can be somebody else' }

/** As a user that has nothing but these groups. */
function as(groups: readonly number[], ...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`, LAUNCHER, ...args], { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = '', stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    child.once('error', reject).once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

t.test('operators, readers, guests and everybody else', root, async (t) => {
  const { directory, serve } = place(t, `${VOLUME}socket_mode = "0620"\n`), config = join(directory, 'h.toml')
  chmodSync(directory, 0o755)
  writeFileSync(config, readFileSync(config, 'utf8').replace('name = "a"', `name = "a"\ncontrol_group = "${OPERATORS}"\nstatus_socket = "st"\nstatus_group = "${READERS}"\nsocket_user = "nobody"\nsocket_group = "${GUESTS}"\nsocket_mode = "0600"`))
  await serve()
  const facts = (name: string): unknown => { const { mode, uid, gid } = statSync(join(directory, name)); return [(mode & 0o777).toString(8), uid, gid] }
  t.same(facts('ctl'), ['660', 0, OPERATORS])
  t.same(facts('st'), ['660', 0, READERS])
  t.same(facts('db01.sock'), ['620', NOBODY, GUESTS], 'as the volume says, and else as the host does')

  const list = ['volume', 'list', '--config', config], cache = ['volume', 'cache', 'db01', 'pause', '--config', config]
  t.match(await as([READERS], ...list), { code: EXIT.done, stdout: /^db01 /m }, 'a reader, by the other socket')
  t.match(await as([READERS], 'host', 'ok-to-stop', '--config', config), { code: EXIT.done })
  t.match(await as([READERS], ...cache), { code: EXIT.denied, stderr: `holdfast: you may not use ${directory}/ctl; run this as root or as a member of the socket's group\n` })
  t.match(await as([READERS], ...cache.slice(0, -2), '--control', join(directory, 'st')), { code: EXIT.denied, stderr: `holdfast: ${directory}/st only shows; use ${directory}/ctl to change something, for which you may need another group\n` })
  t.match(await as([], ...list), { code: EXIT.denied })
  t.match(await as([OPERATORS], ...cache), { code: EXIT.done })
})

t.test('a group that nobody has, and one that was mistyped', root, async (t) => {
  const { directory } = place(t), config = join(directory, 'h.toml'), text = readFileSync(config, 'utf8')
  for (const [key, sentence] of [['control_group = "no-such-group"', 'host.control_group = "no-such-group": there is no such group on this host'],
    ['socket_user = "no-such-user"', 'socket_user = "no-such-user": there is no such user on this host'],
    ['status_group = "root"', `${config}: host.status_group needs host.status_socket`],
    ['socket_mode = "666666"', `${config}: host.socket_mode = "666666" must be a file mode, like "0660"`]] as const) {
    writeFileSync(config, text.replace('name = "a"', `name = "a"\n${key}`))
    t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: new RegExp(`^holdfast: ${sentence.replaceAll('/', '\\/')}\\n$`, 'm') }, key)
  }
})
