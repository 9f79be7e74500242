/**
 * A claim worker: the process that makes the file calls on one datastore. When that hangs, threads of this process wait,
 * and none of the daemon, which may have volumes elsewhere.
 *
 * It lives as long as its daemon, which it knows by the channel between them, also when the daemon was killed. Signals for the
 * daemon's whole group are not for it: a daemon that was asked to stop changes claims yet.
 */
const END_MS = 1000
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
// Not process.exit(): that joins the threads of the pool, and those may hang.
const kill = (): void => { process.kill(process.pid, 'SIGKILL') }
process.on('disconnect', kill)

const { answerTo, closeLeases } = await import('./worker.js')
const end = (): void => {
  setTimeout(kill, END_MS)
  closeLeases().catch(() => undefined).finally(kill)
}
process.removeListener('disconnect', kill)
process.on('disconnect', end)
process.on('message', (message) => { void answerTo(message as Parameters<typeof answerTo>[0]).then((answer) => process.send!(answer, undefined, undefined, () => undefined)) })
if (process.connected) process.send!({ type: 'ready' })
else end()
