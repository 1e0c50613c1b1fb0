// Preloaded into measured processes: writes their peak memory (bytes) to BENCH_USAGE when they end. getrusage is no use
// on Linux: what a process held before exec counts there, so a child would be charged with the memory of its parent.
import { readFileSync, writeFileSync } from 'node:fs'

function peak() {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

process.on('exit', () => writeFileSync(process.env.BENCH_USAGE, String(peak())))
