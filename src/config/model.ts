/** Builds the model of a sync: SQL from a file, from YAML or for a table. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isScalar, Scalar } from 'yaml'
import { interpolateSql } from './interpolate.ts'
import { nodeAt, spotAt, spotOf, whereOf } from './source.ts'
import type { Source } from './source.ts'
import type { Fail, Known, SyncDraft } from './sync.ts'
import type { Sync } from './types.ts'

/** Null when the model has problems, which are then reported. */
export function buildModel(draft: SyncDraft, known: Known, fail: Fail): Sync['model'] | null {
  const { model } = draft.file
  const key = typeof model.key === 'string' ? [model.key] : model.key
  const twice = key.find((column, i) => key.indexOf(column) !== i)
  if (twice !== undefined) fail('CDP1014', ['model', 'key'], `model.key names "${twice}" twice.`)
  const found =
    model.file !== undefined
      ? fromFile(model.file, draft, known, fail)
      : model.table !== undefined
        ? fromTable(model.table, draft, fail)
        : fromYaml(model.sql ?? '', draft)
  if (!found) return null
  if (isEmptySql(found.sql)) {
    const name = model.file ?? 'model.sql'
    fail('CDP1111', ['model', model.file === undefined ? 'sql' : 'file'], `${name} holds no query.`, 'Write a SELECT.')
    return null
  }
  return { ...found, key, condition: model.where ?? null }
}

type Sql = Pick<Sync['model'], 'sql' | 'where'>

function fromFile(file: string, draft: SyncDraft, known: Known, fail: Fail): Sql | null {
  let text: string
  try {
    text = readFileSync(resolve(known.root, file), 'utf8').replace(/^\uFEFF/, '')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const reason = code === 'ENOENT' ? 'does not exist' : `can’t be read (${code})`
    fail('CDP1110', ['model', 'file'], `The file ${file} ${reason}.`, 'Paths are relative to the project folder.')
    return null
  }
  const read = interpolateSql(text, file, known.scope)
  if (draft.active) known.problems.push(...read.missing)
  return { sql: read.text, where: `${file}:1:1` }
}

function fromYaml(sql: string, draft: SyncDraft): Sql {
  const { source } = draft.reading
  return { sql, where: whereOf(sqlSpot(source)) }
}

/** Where the text itself begins: after `|`, on the next line. */
function sqlSpot(source: Source): ReturnType<typeof spotAt> {
  const spot = spotAt(source, ['model', 'sql'])
  const node = nodeAt(source, ['model', 'sql'])
  if (!isScalar(node) || (node.type !== Scalar.BLOCK_LITERAL && node.type !== Scalar.BLOCK_FOLDED)) return spot
  const start = spot.start + (/^[^\n]*\n\s*/.exec(source.text.slice(spot.start))?.[0].length ?? 0)
  return spotOf(source, [start, spot.end])
}

const TABLE = /^(?:"(?:[^"]|"")+"|[^\s".]+)(?:\.(?:"(?:[^"]|"")+"|[^\s".]+)){0,2}$/

function fromTable(table: string, draft: SyncDraft, fail: Fail): Sql | null {
  if (!TABLE.test(table)) {
    fail(
      'CDP1112',
      ['model', 'table'],
      `"${table}" is no name of a table.`,
      'Write schema.name; names with spaces or dots in double quotes; a query goes to sql or file.',
    )
    return null
  }
  const parts = [...table.matchAll(/"((?:[^"]|"")+)"|([^".]+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'),
  )
  const name = parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
  return { sql: `select * from ${name}`, where: whereOf(spotAt(draft.reading.source, ['model', 'table'])) }
}

/** Nothing but space, comments and semicolons. */
const isEmptySql = (sql: string): boolean => sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, '').replace(/[\s;]/g, '') === ''
