/** The lab cleans up after itself however it ends. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { ROOT, Workspace, until } from '../../fixtures/lab/workspace.js'

/** A zombie has ended; when it is reaped is its new parent's affair. */
const alive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL', 'exception'] as const) {
  t.test(`ended by ${signal}`, async (t) => {
    const work = new Workspace('exit')
    t.teardown(() => work.close())
    const script = work.file('main.mjs')
    const lab = (name: string): string => JSON.stringify(pathToFileURL(join(ROOT, `dist/fixtures/lab/${name}.js`)).href)
    writeFileSync(script, `
      import { Child } from ${lab('process')}
      import { Workspace, until } from ${lab('workspace')}
      const work = new Workspace('inner')
      const child = new Child('sh', ['-c', 'sleep 60 & echo $!; wait'], work.file('log'))
      await until('the grandchild', 5000, () => /^\\d+\\n/.test(child.output))
      console.log(JSON.stringify([child.pid, Number(child.output), work.path]))
      if (${signal === 'exception'}) throw new Error('as wanted')
      setInterval(() => undefined, 1000)`)
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'ignore'] })
    const line = await new Promise<string>((resolve) => child.stdout.setEncoding('utf8').once('data', resolve))
    const [pid, grandchild, path] = JSON.parse(line) as [number, number, string]
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    if (signal !== 'exception') child.kill(signal)
    t.equal(await ended, { SIGTERM: 143, SIGINT: 130, SIGKILL: null, exception: 1 }[signal])
    await until('the end of its child', 5000, () => !alive(pid))
    if (signal === 'SIGKILL') {
      process.kill(grandchild, 'SIGKILL')
      rmSync(path, { recursive: true })
      return
    }
    await until('the end of its grandchild', 5000, () => !alive(grandchild))
    t.notOk(existsSync(path), 'its folder is gone')
  })
}
