/** Files in a bucket as parts: what is there is not sent again, and what comes back is what was stored. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Bucket } from '../../src/state/bucket.ts'
import { copyParts, fetchParts, listOf, partKey, storeParts } from '../../src/state/bucket-parts.ts'
import { canMount } from '../support/rights.ts'
import { openStates, s3, SKIPPED } from './support.ts'

const MIB = 1_048_576
let bucket: Bucket
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-parts-'))
  if (!SKIPPED) bucket = await openStates()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** A file of `size` random bytes. */
async function made(name: string, size: number): Promise<{ file: string; bytes: Buffer }> {
  const [file, bytes] = [join(folder, name), randomBytes(size)]
  await writeFile(file, bytes)
  return { file, bytes }
}
const stored = async (place: string): Promise<string[]> => (await s3.keys()).filter((key) => key.startsWith(`${place}/parts/`))

describe.skipIf(SKIPPED)('a file in parts', () => {
  it.each([0, 1, 12_288, 12_289, 12_288 + MIB, 3 * MIB + 7])('comes back as it was: %i bytes', async (size) => {
    const { file, bytes } = await made(`whole-${size}`, size)
    const list = await storeParts(bucket, `p${size}`, '1-1', file, [])
    expect(list.bytes).toBe(size)
    const back = join(folder, `back-${size}`)
    await writeFile(back, 'what was there before, and is longer than nothing')
    await fetchParts(bucket, `p${size}`, list, back)
    expect((await readFile(back)).equals(bytes)).toBe(true)
  })

  it('is sent but for what is there', async () => {
    const { file, bytes } = await made('changed', 12_288 + 5 * MIB)
    const before = await storeParts(bucket, 'changed', '1-1', file, [])
    expect(await stored('changed')).toHaveLength(6)
    await bucket.remove([partKey('changed', before.parts[1] ?? '')])
    bytes[12_288 + 3 * MIB] = (bytes[12_288 + 3 * MIB] ?? 0) ^ 1
    await writeFile(file, bytes)
    const after = await storeParts(bucket, 'changed', '2-1', file, before.parts)
    expect(after.parts.map((part, i) => part === before.parts[i])).toEqual([true, true, true, true, false, true])
    // The one that was taken away is still not there: nobody looked.
    expect(await stored('changed')).toHaveLength(6)
    await expect(fetchParts(bucket, 'changed', after, join(folder, 'lost'))).rejects.toMatchObject({ code: 'CDP4001' })
  })

  it('is refused where a part holds something else, and so is a list that can not be one', async () => {
    const { file } = await made('altered', 2 * MIB)
    const list = await storeParts(bucket, 'altered', '1-1', file, [])
    await bucket.put(partKey('altered', list.parts[1] ?? ''), randomBytes(MIB))
    const refused = (): Promise<void> => fetchParts(bucket, 'altered', list, join(folder, 'refused'))
    await expect(refused()).rejects.toMatchObject({ code: 'CDP4001', message: expect.stringContaining('other bytes') as string })
    for (const value of [{ ...list, bytes: 1 }, { ...list, bytes: 1e15 }, {}, null, 'text'])
      expect(() => listOf(bucket, 'altered/list', value)).toThrow('is no list of parts')
    expect(listOf(bucket, 'altered/list', JSON.parse(JSON.stringify(list)))).toEqual(list)
  })

  it.skipIf(!canMount)('is not there where the disk has no room for all of it', async () => {
    const { file } = await made('large', 3 * MIB)
    const list = await storeParts(bucket, 'large', '1-1', file, [])
    const small = join(folder, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${3 * MIB - 12_288}`, 'tmpfs', small])
    try {
      await expect(fetchParts(bucket, 'large', list, join(small, 'file'))).rejects.toMatchObject({ code: 'ENOSPC' })
    } finally {
      execFileSync('umount', ['-l', small])
    }
  })

  it('has other names in each upload: what an old request deletes is nothing that a later one brought', async () => {
    const { file } = await made('again', MIB)
    const [first, second] = [await storeParts(bucket, 'again', '1-1', file, []), await storeParts(bucket, 'again', '2-1', file, [])]
    for (const part of first.parts) await bucket.remove([partKey('again', part)])
    await fetchParts(bucket, 'again', second, join(folder, 'again-back'))
    expect((await readFile(join(folder, 'again-back'))).equals(await readFile(file))).toBe(true)
    const moved = await copyParts(bucket, 'again', 'elsewhere', '1-0', second)
    for (const part of second.parts) await bucket.remove([partKey('again', part)])
    await fetchParts(bucket, 'elsewhere', moved, join(folder, 'moved'))
    expect((await readFile(join(folder, 'moved'))).equals(await readFile(file))).toBe(true)
  })
})
