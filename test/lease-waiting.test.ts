/** Whoever waits for a lease says so, once: minutes without a word look like a hang. */
import { describe, expect, it } from 'vitest'
import { takeLease, waitForLease, type LeaseCell, type LeaseNote } from '../src/state/lease.ts'

/** Held by another machine for the first `reads` looks, free from then on. */
function heldFor(reads: number): LeaseCell {
  const now = Date.now()
  const holder = { token: 't', host: 'runner-1', pid: 7, since: '2026-11-22T02:00:00.000Z', run: 'r1' }
  let note: LeaseNote = { fence: 4, holder, lasts: 60_000 }
  let left = reads
  return {
    where: 'a test',
    read: async () => {
      if (left-- === 0) note = { ...note, holder: null }
      return { value: note, etag: String(note.fence), writtenAt: now, readAt: now }
    },
    replace: async (value) => {
      note = value
      return String(value.fence)
    },
    prove: async () => {},
  }
}

const request = (waiting: (message: string) => void, timeout = 60_000) => ({
  name: 'contacts',
  timeout,
  now: Date.now,
  run: 'r2',
  waiting,
  signal: new AbortController().signal,
})

describe('a lease that somebody holds', () => {
  it('is waited for with one sentence, which names the holder and the latest end', async () => {
    const said: string[] = []
    const lease = await takeLease(
      heldFor(2),
      request((message) => said.push(message)),
    )
    await lease.release()
    expect(said).toEqual([
      expect.stringMatching(/^waiting for another run \(pid 7 on runner-1, .*r1\); if that machine is gone, until \d{4}-.*Z$/),
    ])
  })

  it('is waited for by readers with the same sentence, and by nobody who does not wait', async () => {
    const said: string[] = []
    await waitForLease(
      heldFor(2),
      request((message) => said.push(message)),
    )
    expect(said).toHaveLength(1)
    await expect(
      waitForLease(
        heldFor(2),
        request((message) => said.push(message), 0),
      ),
    ).rejects.toThrow('locked by another run')
    expect(said).toHaveLength(1)
  })
})
