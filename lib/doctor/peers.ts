/** Can this host be where it says it listens, and does somebody answer at the addresses of its peers? */
import { connect, createServer } from 'node:net'
import { formatAddress } from '../config/units.js'
import type { HostConfig } from '../config/schema.js'
import { limits } from '../limits.js'
import { fail, ok, warn, type Finding } from './finding.js'

export async function checkPeers({ replication, peer }: HostConfig, daemonRuns: boolean): Promise<Finding[]> {
  const listen = replication?.listen
  return [
    ...(listen === undefined || daemonRuns ? [] : await listening(listen)),
    ...await Promise.all(peer.map(({ name, address }) => reachable(`peer ${name}`, address))),
  ]
}

function listening(at: { readonly address: string; readonly port: number }): Promise<Finding[]> {
  const shown = formatAddress(at)
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve([fail('network', `replication.listen = "${shown}" cannot be listened on: ${error.message}`,
      error.code === 'EADDRINUSE' ? 'stop the program that has this port (ss -ltnp), or choose another one' : 'choose an address that this host has (ip address)')]))
    server.listen(at.port, at.address, () => server.close(() => resolve([])))
  })
}

function reachable(about: string, at: { readonly address: string; readonly port: number }): Promise<Finding> {
  const shown = formatAddress(at), started = performance.now()
  return new Promise((resolve) => {
    const socket = connect({ host: at.address, port: at.port })
    const end = (finding: Finding): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(finding)
    }
    const timer = setTimeout(() => end(fail(about, `${shown} does not answer within ${limits.doctorConnectMs} ms`, 'look at routes and firewalls between the hosts')), limits.doctorConnectMs)
    socket.once('connect', () => end(ok(about, `${shown} answers, after ${(performance.now() - started).toFixed(1)} ms`)))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // The host is there, and no daemon on it: a moment's state, and no fault of this host.
      if (error.code === 'ECONNREFUSED') end(warn(about, `nobody listens at ${shown}`, 'start the daemon there, or compare with its replication.listen'))
      else end(fail(about, `${shown} cannot be reached: ${error.message}`, 'put the address in [[peer]] right, or look at name service, routes and firewalls'))
    })
  })
}
