/** What tests of disks may do on this machine, and a disk without room. */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { expect } from 'vitest'

export const isRoot = process.getuid?.() === 0

export function works(program = '', ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export const canMount = isRoot && works('sh', '-c', 'd=$(mktemp -d) && mount -t tmpfs -o size=1m tmpfs "$d" && umount "$d" && rmdir "$d"')

/** Writes a file that takes all room of its disk but `free` bytes. */
export function fillDisk(path: string, free = 0): void {
  const file = openSync(path, 'w', 0o600)
  const kilobyte = Buffer.alloc(1024)
  let size = 0
  try {
    for (;;) size += writeSync(file, kilobyte)
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
  }
  closeSync(file)
  if (free > 0) execFileSync('truncate', ['-s', String(size - free), path])
}
