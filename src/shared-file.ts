/** A small JSON value that several processes change without a lock, so that no dead process can block another. */
import fs from 'node:fs'
import path from 'node:path'
import { CdpError } from './errors.ts'

/**
 * The value lives in `<folder>/<version>`. A change is written aside and linked to the next version, which fails when
 * somebody else was first: then it is computed again from what they wrote. Older versions are deleted.
 */
export interface SharedFile<T> {
  /** The newest value; undefined when there is none. */
  read(): T | undefined
  /** `change` may be called several times; the last call counts. Throws CdpError CDP3050 when the folder can't be written. */
  update<R>(change: (value: T | undefined) => { value: T; result: R }): R
}

let counter = 0

export function openSharedFile<T>(folder: string): SharedFile<T> {
  const read = (): { version: number; value: T | undefined } => {
    for (;;) {
      const version = newest(folder)
      if (version === 0) return { version, value: undefined }
      const value = parse(path.join(folder, String(version)))
      // Gone: somebody wrote a newer one since.
      if (value !== 'gone') return { version, value: value as T | undefined }
    }
  }
  return {
    read: () => read().value,
    update(change) {
      const aside = path.join(folder, `tmp-${process.pid}-${++counter}`)
      try {
        fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
        for (;;) {
          const { version, value } = read()
          const next = change(value)
          fs.writeFileSync(aside, JSON.stringify(next.value), { mode: 0o600 })
          const published = publish(folder, aside, version + 1)
          fs.rmSync(aside, { force: true })
          if (published) return next.result
        }
      } catch (cause) {
        if (cause instanceof Error && 'syscall' in cause)
          throw new CdpError('CDP3050', `The request limits can't be shared: ${cause.message}.`, {
            hint: 'Give cdp-sync the right to write in its state folder, and space on the disk.',
            cause,
          })
        throw cause
      }
    },
  }
}

function newest(folder: string): number {
  try {
    return fs.readdirSync(folder).reduce((most, name) => (/^\d+$/.test(name) ? Math.max(most, Number(name)) : most), 0)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return 0
    throw error
  }
}

function parse(file: string): unknown {
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return 'gone'
    throw error
  }
  try {
    return JSON.parse(text)
  } catch {
    // Only a power loss leaves this: linked before its content reached the disk. Limits start afresh.
    return undefined
  }
}

function publish(folder: string, aside: string, version: number): boolean {
  try {
    link(aside, path.join(folder, String(version)))
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  }
  const names = fs.readdirSync(folder)
  // A slow process may link a version that was there and was deleted as old: a newer one then exists, always.
  const beaten = names.some((name) => /^\d+$/.test(name) && Number(name) > version)
  for (const name of names) {
    const old = /^\d+$/.test(name) && Number(name) < version
    if (beaten ? name === String(version) : old || isLeftover(folder, name)) fs.rmSync(path.join(folder, name), { force: true })
  }
  return !beaten
}

function link(from: string, to: string): void {
  try {
    fs.linkSync(from, to)
  } catch (error) {
    // Some network and container file systems have no links. A copy may be seen half written: limits then start afresh.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].some((code) => isCode(error, code))) throw error
    fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL)
  }
}

/** What a killed process left aside. */
function isLeftover(folder: string, name: string): boolean {
  if (!name.startsWith('tmp-') || name.startsWith(`tmp-${process.pid}-`)) return false
  const stat = fs.statSync(path.join(folder, name), { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs > 60_000
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
