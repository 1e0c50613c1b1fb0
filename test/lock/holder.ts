/** A process that takes a lock, says so, and holds it until it is killed. Arguments: folder, name. */
import { lockSync } from '../../src/lock.ts'

const [folder = '', name = ''] = process.argv.slice(2)
process.once('message', () => void hold())
process.send?.({ ready: true })
setInterval(() => undefined, 1000)

async function hold(): Promise<void> {
  const run = `run-${process.pid}`
  try {
    await lockSync({ folder, name, timeout: 0, now: Date.now, signal: new AbortController().signal, run })
    process.send?.({ got: true, pid: process.pid })
  } catch (error) {
    process.send?.({ got: false, pid: process.pid, message: (error as Error).message })
  }
}
