/** qemu-img's progress, on stderr: one line that is rewritten at a terminal, a line every tenth elsewhere. */
export function progressLine(what: string): (done: number, total: number) => void {
  let shown = -1
  return (done, total) => {
    const percent = total === 0 ? 100 : (done / total) * 100
    if (process.stderr.isTTY) {
      process.stderr.write(`\r${what} (${percent.toFixed(2)}/100%)${done >= total ? '\n' : ''}`)
    } else if (Math.floor(percent / 10) > shown) {
      shown = Math.floor(percent / 10)
      process.stderr.write(`${what} (${percent.toFixed(0)}/100%)\n`)
    }
  }
}
