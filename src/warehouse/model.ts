/** What every warehouse does with a model's text: find its end, wrap it, check its columns, and point into it. */
import { CdpError, nearest } from '../errors.ts'
import type { Column } from '../types.ts'
import type { ModelQuery } from './warehouse.ts'

/** `"name"`, safe as an identifier. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** `'text'`, safe as a literal. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** A comment for the warehouse's own logs. Names only hold what can't end a comment. */
export function runComment(query: ModelQuery): string {
  const [sync, run] = [query.sync, query.run].map((name) => name.replaceAll(/[^\w.:-]/g, '_'))
  return `/* cdp-sync sync=${sync} run=${run} */ `
}

/** One token of SQL; names first, so that the E of `E'…'` is only seen at the start of a token. */
const TOKEN =
  /[eE]'(?:[^'\\]+|\\[\s\S]|'')*'|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|'[^']*'|"[^"]*"|\$([A-Za-z_]\w*)?\$[\s\S]*?\$\1\$|--[^\n]*|\/\*|\*\/|;|[\s\S]/y

/**
 * The statement without the `;` that ends it and what follows. The warehouse has parsed the whole text as one statement,
 * and parses the result again: a wrong cut is an error there, never another meaning.
 */
export function statementBody(sql: string): string {
  let depth = 0
  TOKEN.lastIndex = 0
  for (;;) {
    const start = TOKEN.lastIndex
    const token = depth > 0 ? comment(sql) : TOKEN.exec(sql)?.[0]
    if (token === undefined) return sql
    if (token === '/*') depth++
    else if (token === '*/') depth--
    else if (token === ';') return sql.slice(0, start)
  }
}

/** Inside a block comment, which may hold others: the next start or end of one. */
function comment(sql: string): string | undefined {
  const edge = /\/\*|\*\//g
  edge.lastIndex = TOKEN.lastIndex
  const found = edge.exec(sql)
  TOKEN.lastIndex = found ? edge.lastIndex : sql.length
  return found?.[0]
}

/** The rows of a model, with what stands before it (for places in it). The newlines end a comment on its last line. */
export function wrap(query: ModelQuery, body: string, list = '*'): { sql: string; before: string } {
  const before = `SELECT ${list} FROM (\n`
  const where = query.condition === null ? '' : ` WHERE (\n${query.condition}\n)`
  return { sql: `${before}${body}\n) AS model${where}`, before }
}

/**
 * Texts that must all parse for a condition to be one: bare, so that its brackets, quotes and comments are closed;
 * in brackets (the wrapped model), so that it is an expression and no further clause.
 */
export function bareCondition(body: string, condition: string): string {
  return `SELECT 1 FROM (\n${body}\n) AS model WHERE\n${condition}\n`
}

/** Refuses models without columns and columns that can't be told apart by name. */
export function checkColumns(query: ModelQuery, columns: readonly Column[]): void {
  const seen = new Map<string, string>()
  for (const { name } of columns) {
    const twin = seen.get(name.toLowerCase())
    if (twin !== undefined) {
      throw new CdpError('CDP2103', `the model has two columns named ${twin}${twin === name ? '' : ` and ${name}`}`, {
        where: query.where,
        hint: 'Give each column a name of its own, with AS; capitals make no difference.',
      })
    }
    seen.set(name.toLowerCase(), name)
  }
  if (columns.length === 0) {
    throw new CdpError('CDP2103', 'the model has no columns', { where: query.where, hint: 'Select at least the key column.' })
  }
}

/** Refuses to extract a column that the model no longer has as it was described. */
export function checkWanted(query: ModelQuery, wanted: readonly Column[], found: readonly Column[]): void {
  for (const column of wanted) {
    const now = found.find(({ name }) => name === column.name)
    if (now?.type === column.type) continue
    const near = nearest(
      column.name,
      found.map(({ name }) => name),
    )
    throw new CdpError('CDP2105', `column ${column.name} ${now ? `is now ${now.native}, was ${column.native}` : 'is not in the model'}`, {
      where: query.where,
      hint: now || near === undefined ? 'The model changed while the run was starting: run again.' : `Did you mean ${near}?`,
    })
  }
}

/** The model's text as a place: `line` from 1, `column` from 1 in code points. */
export interface Place {
  readonly line: number
  readonly column: number
}

/** Length of a text in code points, as databases count. */
export const length = (text: string): number => Array.from(text).length

/** The place of the character at `offset` (from 0, in code points) of a text. */
export function placeAt(text: string, offset: number): Place {
  const before = Array.from(text).slice(0, offset).join('').split('\n')
  return { line: before.length, column: length(before.at(-1) ?? '') + 1 }
}

/** `where` and code frame of a place in the model. */
export function point(query: ModelQuery, place: Place): { where: string; frame: string } {
  const [, file = query.where, line = '1', column = '1'] = /^(.*):(\d+):(\d+)$/.exec(query.where) ?? []
  const at = place.line === 1 ? Number(column) + place.column - 1 : place.column
  const text = query.sql.split('\n')[place.line - 1] ?? ''
  const number = String(Number(line) + place.line - 1)
  return {
    where: `${file}:${number}:${at}`,
    frame: `${number} | ${text}\n${' '.repeat(number.length)} | ${text.slice(0, place.column - 1).replaceAll(/[^\t]/g, ' ')}^`,
  }
}
