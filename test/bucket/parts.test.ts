/** Files in a bucket as parts: what is there is not sent again, and what comes back is what was stored. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBucket } from '../../src/state/bucket.ts'
import type { Bucket } from '../../src/state/bucket.ts'
import { fetchParts, partKey, storeParts } from '../../src/state/bucket-parts.ts'
import { s3, SKIPPED } from './support.ts'

const MIB = 1_048_576
let bucket: Bucket
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-parts-'))
  if (!SKIPPED) bucket = await openBucket({ type: 's3', path: folder, bucket: 'states', prefix: '', region: 'us-east-1', endpoint: s3.url })
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
    const list = await storeParts(bucket, `p${size}`, file, [])
    expect(list.bytes).toBe(size)
    const back = join(folder, `back-${size}`)
    await writeFile(back, 'what was there before, and is longer than nothing')
    await fetchParts(bucket, `p${size}`, list, back)
    expect((await readFile(back)).equals(bytes)).toBe(true)
  })

  it('is sent but for what is there', async () => {
    const { file, bytes } = await made('changed', 12_288 + 5 * MIB)
    const before = await storeParts(bucket, 'changed', file, [])
    expect(await stored('changed')).toHaveLength(6)
    await bucket.remove([partKey('changed', before.parts[1] ?? '')])
    bytes[12_288 + 3 * MIB] = (bytes[12_288 + 3 * MIB] ?? 0) ^ 1
    await writeFile(file, bytes)
    const after = await storeParts(bucket, 'changed', file, before.parts)
    expect(after.parts.map((part, i) => part === before.parts[i])).toEqual([true, true, true, true, false, true])
    // The one that was taken away is still not there: nobody looked.
    expect(await stored('changed')).toHaveLength(6)
    await expect(fetchParts(bucket, 'changed', after, join(folder, 'lost'))).rejects.toMatchObject({ code: 'CDP4001' })
  })

  it('is refused where a part holds something else, or the list can not be right', async () => {
    const { file } = await made('altered', 2 * MIB)
    const list = await storeParts(bucket, 'altered', file, [])
    await bucket.put(partKey('altered', list.parts[1] ?? ''), randomBytes(MIB))
    const refused = (): Promise<void> => fetchParts(bucket, 'altered', list, join(folder, 'refused'))
    await expect(refused()).rejects.toMatchObject({ code: 'CDP4001', message: expect.stringContaining('other bytes') as string })
    await expect(fetchParts(bucket, 'altered', { ...list, bytes: 1 }, join(folder, 'refused'))).rejects.toMatchObject({ code: 'CDP4001' })
  })
})
