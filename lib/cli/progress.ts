/** qemu-img's progress, on stderr: one line that is rewritten at a terminal, a line every tenth elsewhere. */
export function progressLine(what: string): (done: number, total: number) => void {
  let shown = -1
  return (done, total) => {
    const percent = total === 0 ? 100 : Math.min(100, (done / total) * 100)
    if (process.stderr.isTTY) {
      if (shown < 100) process.stderr.write(`\r${what} (${percent.toFixed(2)}/100%)${percent === 100 ? '\n' : ''}`)
      shown = percent
    } else if (Math.floor(percent / 10) > shown) {
      shown = Math.floor(percent / 10)
      process.stderr.write(`${what} (${percent.toFixed(0)}/100%)\n`)
    }
  }
}
