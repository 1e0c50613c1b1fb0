/** How DuckDB reads an extract: a relation of columns c0..cN, all VARCHAR, exactly the texts that were written. */
import type { Extract } from './warehouse.ts'

/** DuckDB's own default buffer (16 lines of 2 MB); smaller ones make its parallel reader refuse quoted newlines. */
const BUFFER_BYTES = 32 * 1024 * 1024

/** SQL that stands after FROM. Rows that do not have the columns of the extract are an error of the query. */
export function extractSql(extract: Extract): string {
  const names = extract.columns.map((_, i) => `c${i}`)
  if (extract.format === 'parquet') return `(SELECT ${names.join(', ')} FROM read_parquet(${quote(extract.path)}))`
  // A file of one column has an empty second one: DuckDB drops blank lines, and a lone NULL is one.
  const all = names.length === 1 ? [...names, 'c1'] : names
  const options = [
    `columns = {${all.map((name) => `${name}: 'VARCHAR'`).join(', ')}}`,
    `auto_detect = false, header = false, skip = 0, comment = '', compression = 'none'`,
    // Without it the end of line is guessed, and a CR inside a value misleads.
    `delim = ',', quote = '"', escape = '"', new_line = '\\n', strict_mode = true`,
    `nullstr = '', allow_quoted_nulls = false`,
    `max_line_size = ${extract.maxLineBytes + 1}, buffer_size = ${Math.max(BUFFER_BYTES, 2 * extract.maxLineBytes + 2)}`,
    // A thread that starts inside a quoted value takes the lines in it for rows.
    `parallel = ${extract.multiline === false}`,
  ]
  const file = `read_csv(${quote(extract.path)}, ${options.join(', ')})`
  return names.length === 1 ? `(SELECT c0 FROM ${file})` : file
}

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`
