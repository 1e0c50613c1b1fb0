/** A process that takes a lock, says so, and holds it until told otherwise. Arguments: folder, name, and `keep` or `try`. */
import { lockSync } from '../../src/lock.ts'

const [folder = '', name = '', then = 'keep'] = process.argv.slice(2)
process.once('message', async () => {
  try {
    const lock = await lockSync({
      folder,
      name,
      timeout: 0,
      now: Date.now,
      signal: new AbortController().signal,
      run: `run-${process.pid}`,
    })
    process.send?.({ got: true, pid: process.pid })
    if (then === 'try') {
      process.once('message', () => void lock.release().then(() => process.exit(0)))
    }
  } catch (error) {
    process.send?.({ got: false, pid: process.pid, message: (error as Error).message }, () => then === 'try' && process.exit(0))
  }
})
process.send?.({ ready: true })
setInterval(() => undefined, 1000)
