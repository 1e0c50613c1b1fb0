/** CSV as Bulk API 2.0 reads and writes it: RFC 4180, comma, LF. */
import { encodeJson, type Value } from '../../src/index.ts'

/** An empty cell leaves a field as it is, this clears it (Bulk API 2.0 Developer Guide, "Prepare CSV files"). */
export const NOTHING = '#N/A'

/** The cell of a value; undefined: the row has none. An empty text is no value in Salesforce. */
export function cellOf(value: Value | undefined): string {
  if (value === undefined) return ''
  if (value === null || value === '') return NOTHING
  return typeof value === 'string' ? value : encodeJson(value)
}

export function encodeCsv(rows: readonly (readonly string[])[]): string {
  return rows.map((cells) => `${cells.map(quoted).join(',')}\n`).join('')
}

const quoted = (cell: string): string => (/[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)

/** Rows of cells; empty lines are left out, and a last row that was cut within a cell in quotes. */
export function decodeCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let at = 0
  while (at < text.length) {
    let cell: string
    if (text[at] === '"') {
      let end = text.indexOf('"', at + 1)
      while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2)
      if (end === -1) return rows
      cell = text.slice(at + 1, end).replaceAll('""', '"')
      at = end + 1
    } else {
      let end = at
      while (end < text.length && text[end] !== ',' && text[end] !== '\n') end++
      cell = text.slice(at, end).replace(/\r$/, '')
      at = end
    }
    row.push(cell)
    if (text[at] === '\r') at++
    if (text[at] === ',' && at + 1 < text.length) {
      at++
      continue
    }
    if (text[at] === ',') row.push('')
    if (row.length > 1 || row[0] !== '') rows.push(row)
    row = []
    at++
  }
  return rows
}
