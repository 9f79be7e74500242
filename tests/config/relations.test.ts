import t from 'tap'
import { parseConfig } from '../../lib/config/load.js'
import { Failure } from '../../lib/core/failure.js'

const HOST = '[host]\nname = "a"\n[region]\npath = "/nvme/region"\n'
const peer = (name: string, port: number): string => `[[peer]]\nname = "${name}"\naddress = "127.0.0.1:${port}"\n`
const PEERS = `[replication]\nlisten = "127.0.0.1:7400"\ninsecure = true\n${peer('b', 7401)}${peer('c', 7402)}`
const volume = (name: string, more = '', backing = `/san/${name}`, socket = `/run/${name}`): string =>
  `[[volume]]\nname = "${name}"\nbacking = "${backing}"\nsocket = "${socket}"\n${more}`

const CLAIMS = 'claims = "/san/claims"\n'
const blockdev = (name: string, table: string, more = ''): string => volume(name, more).replace(/backing = .*/, `backing = { blockdev = { ${table} } }`)

function problems(text: string): string[] {
  try {
    parseConfig(text, '/etc/h.toml')
    return []
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return error.message.split('\n').map((line) => line.replace('/etc/h.toml: ', ''))
  }
}

const cases: Readonly<Record<string, readonly (readonly [text: string, ...problems: string[]])[]>> = {
  'timing: a host stops before others take it for dead': [
    [`${HOST}[timing]\nrenew = "5s"`, 'timing.fail_after = "10s" must be more than twice timing.renew = "5s"'],
    [`${HOST}[timing]\nfail_after = "20s"`, 'timing.dead_after = "20s" must be more than timing.fail_after = "20s"'],
    [`${HOST}[timing]\nquarantine = "9s"`, 'timing.quarantine = "9s" must be at least timing.fail_after = "10s"'],
    [`${HOST}[timing]\nrenew = "50ms"\nfail_after = "200ms"\ndead_after = "400ms"\nquarantine = "200ms"`],
  ],
  'peers are others, each once': [
    [HOST + PEERS + peer('a', 7403), 'peer[a] is this host itself; list only the others'],
    [HOST + PEERS + peer('b', 7403), 'peer[b] is there twice'],
    [HOST + PEERS + peer('d', 7402), 'peer[d].address = "127.0.0.1:7402" is another peer\'s'],
  ],
  'fault domains: of every host or of none': [
    [HOST.replace('"a"\n', '"a"\nfault_domain = "r1"\n') + PEERS.replace(':7401"\n', ':7401"\nfault_domain = "r1"\n'),
      'peer[c].fault_domain is missing; this host has one, and a host without cannot be told apart from its neighbours'],
    [HOST + PEERS.replace(':7402"\n', ':7402"\nfault_domain = "r2"\n'), 'peer[c].fault_domain = "r2" needs host.fault_domain; give every host one, or none'],
    [HOST.replace('"a"\n', '"a"\nfault_domain = "r1"\n') + PEERS.replace(/:740[12]"\n/g, '$&fault_domain = "r2"\n')],
  ],
  'peers need an address here, and certificates or an explicit "insecure"': [
    [HOST + peer('b', 7401), 'replication.listen is missing; the peers dial this host as well as it dials them'],
    [`${HOST}[replication]\nlisten = "[::1]:7400"\nca = "ca"\n${peer('b', 7401)}`,
      'replication.certificate, replication.key are missing; make them with "holdfast pki", or set replication.insecure = true on a network that nobody else can reach'],
  ],
  'a record of members: this host can be dialed, and whom it names is not for the file to say': [
    [`${HOST}[cluster]\nstore = "/san/h"`, 'replication.listen is missing; the peers dial this host as well as it dials them'],
    [`${HOST}[cluster]\nstore = "/san/h"\n[replication]\nlisten = "[::]:7400"\ninsecure = true\n`,
      'replication.advertise is missing; replication.listen is every address of this host, and the others need one that they can dial'],
    [`${HOST}[cluster]\nstore = "/san/h"\n[replication]\nlisten = "0.0.0.0:7400"\nadvertise = "0.0.0.0:7400"\ninsecure = true\n`, 'replication.advertise must be an address that the others can dial'],
    [`${HOST}[replication]\nadvertise = "[2001:db8::7]:7400"\ninsecure = true\n`, 'replication.advertise needs replication.listen'],
    [`${HOST}[replication]\nlisten = "[::]:7400"\ninsecure = true\n`],
    [`${HOST}[cluster]\nstore = "/san/h"\n[replication]\nlisten = "[::]:7400"\nadvertise = "[2001:db8::7]:7400"\ninsecure = true\n${volume('v', 'copies = 2\n')}${volume('w', 'copies = 1\nreplicas = ["x", "y"]')}`],
    [`${HOST}[cluster]\nstore = "/san/h"\n[replication]\nlisten = "127.0.0.1:7400"\ninsecure = true\n${volume('v', 'copies = 2\nreplicas = ["x"]')}`, 'volume[v].copies = 2 must be at most 1, the number of its replicas'],
    [`${HOST}[cluster]\nstore = "/san/h"\n[replication]\nlisten = "127.0.0.1:7400"\ninsecure = true\n${volume('v', 'replicas = ["a"]')}`, 'volume[v].replicas names a, which is this host itself'],
  ],
  'copies need replicas; write-through does not': [
    [HOST + volume('v'), 'volume[v].copies = 1 needs peers, and there are none; add [[peer]] and [replication], or set copies = 0 if acknowledged writes may be lost with this host'],
    [HOST + PEERS + volume('v', 'copies = 2\nreplicas = ["c"]'), 'volume[v].copies = 2 must be at most 1, the number of its replicas'],
    [HOST + PEERS + volume('v', 'copies = 2')],
    [HOST + volume('v', 'copies = 0')],
    [HOST + volume('v', 'policy = "write-through"')],
  ],
  'replicas are peers, each once': [
    [HOST + PEERS + volume('v', 'replicas = ["a", "c"]'), 'volume[v].replicas names a, which is this host itself'],
    [HOST + PEERS + volume('v', 'replicas = ["d", "c"]'), 'volume[v].replicas names d, which is no [[peer]]; the peers are b, c'],
    [HOST + PEERS + volume('v', 'replicas = ["c", "c"]'), 'volume[v].replicas names c twice'],
  ],
  'no two things in one place': [
    [HOST + PEERS + volume('v') + volume('v', '', '/san/w', '/run/w'), 'volume[v] is there twice'],
    [HOST + PEERS + volume('v') + volume('w', '', '/san/../san/v'), 'volume[w].backing = "/san/v" is volume[v].backing already; each needs a path of its own'],
    [HOST + PEERS + volume('v') + volume('w', '', '/san/w', '/run/v'), 'volume[w].socket = "/run/v" is volume[v].socket already; each needs a path of its own'],
    [HOST + PEERS + volume('v', '', '/nvme/region'), 'volume[v].backing = "/nvme/region" is region.path already; each needs a path of its own'],
    [HOST + PEERS + volume('v', '', '/san/v', '/run/holdfast/control.sock'), 'volume[v].socket = "/run/holdfast/control.sock" is host.control_socket already; each needs a path of its own'],
  ],
  'a blockdev needs a place for its claim, keeps its promises, and is nobody else\'s disk': [
    [HOST + PEERS + blockdev('v', 'driver = "nbd", server = { type = "unix", path = "/n" }'),
      'volume[v].claims is missing; beside a blockdev there is no folder for its claim: set it to a directory that all hosts of this volume share'],
    [HOST + PEERS + blockdev('v', 'driver = "nbd", reconnect-delay = 3', CLAIMS),
      'volume[v].backing.blockdev: reconnect-delay hides that the server was away, and what it forgot; leave it out: what fails meanwhile is written again'],
    [HOST + PEERS + volume('w') + blockdev('v', 'driver = "qcow2", file = { driver = "file", filename = "/san/w" }', CLAIMS),
      'volume[v].backing = "/san/w" is volume[w].backing already; each needs a path of its own'],
    [HOST + PEERS + blockdev('v', 'driver = "qcow2", file = { driver = "file", filename = "/san/v" }', CLAIMS)],
  ],
  'what others can reach asks for a token, and TLS has both halves': [
    [`${HOST}[http]\n`],
    [`${HOST}[http]\nlisten = "[::1]:7480"\n`],
    [`${HOST}[http]\nlisten = "localhost:7480"\n`],
    [`${HOST}[http]\nlisten = "10.0.0.7:7480"\ntoken_file = "/etc/token"\ncertificate = "/c"\nkey = "/k"\n`],
    [`${HOST}[http]\nlisten = "0.0.0.0:7480"\n`, 'http.token_file is missing; http.listen = "0.0.0.0:7480" can be reached from elsewhere, and whoever reaches it sees everything'],
    [`${HOST}[http]\nlisten = "127.0.0.1.example.org:7480"\n`, 'http.token_file is missing; http.listen = "127.0.0.1.example.org:7480" can be reached from elsewhere, and whoever reaches it sees everything'],
    [`${HOST}[http]\ncertificate = "/c"\n`, 'http.key is missing; TLS needs both'],
    [`${HOST}[http]\nkey = "/k"\n`, 'http.certificate is missing; TLS needs both'],
  ],
  'socket paths are counted in bytes': [
    [HOST + PEERS + volume('v', '', '/san/v', `/${'s'.repeat(94)}`)],
    [HOST + PEERS + volume('v', '', '/san/v', `/${'é'.repeat(48)}`), `volume[v].socket = "/${'é'.repeat(48)}" must be a path of at most 95 bytes, not 97 (unix sockets allow no more)`],
  ],
  'danger needs the master switch and a volume': [
    [`${HOST}${PEERS}${volume('v')}[danger_zone.backing.v]\nread_delay = "5ms"`, 'danger_zone.backing.v needs danger_zone.enabled = true'],
    [`${HOST}${PEERS}${volume('v')}[danger_zone]\nenabled = true\n[danger_zone.backing.w]\nread_delay = "5ms"`, 'danger_zone.backing.w is no volume; the volumes are v'],
  ],
}

for (const [name, list] of Object.entries(cases)) {
  t.test(name, async (t) => { for (const [text, ...expected] of list) t.same(problems(text), expected) })
}
