/** Text for people: colours, numbers, tables, values that can do a terminal no harm. */

export interface Style {
  readonly colour: boolean
  /** Columns of the terminal. */
  readonly width: number
  /** False: keys and values read "(hidden)". */
  readonly showValues: boolean
}

export const HIDDEN = '(hidden)'
export const SENSITIVE = '(sensitive)'

const CODES = { green: [32, 39], yellow: [33, 39], red: [31, 39], bold: [1, 22], dim: [2, 22] } as const
export type Colour = keyof typeof CODES

/** Pure, unlike util.styleText, which looks at streams. */
export function paint(style: Pick<Style, 'colour'>, colour: Colour, text: string): string {
  const [on, off] = CODES[colour]
  return style.colour && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text
}

const DIGITS = new Intl.NumberFormat('en-US')

export function count(n: number): string {
  return DIGITS.format(n)
}

/** `1 row`, `1,204 rows`. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`
}

/** `4 s`, `2 min 5 s`, `3 h 10 min`. Tenths below 10 s. */
export function duration(seconds: number): string {
  if (seconds > 0 && seconds < 0.1) return 'under 0.1 s'
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return join(Math.floor(whole / 60), 'min', whole % 60, 's')
  return join(Math.floor(whole / 3600), 'h', Math.floor((whole % 3600) / 60), 'min')
}

function join(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${count(big)} ${bigUnit}` : `${count(big)} ${bigUnit} ${small} ${smallUnit}`
}

/** `0.3 MB`, `12 kB`, `640 bytes`: powers of 1,000. */
export function size(bytes: number): string {
  if (bytes < 1000) return many(bytes, 'byte')
  const [unit, word] = bytes < 1e5 ? [1e3, 'kB'] : bytes < 1e9 ? [1e6, 'MB'] : [1e9, 'GB']
  const scaled = bytes / unit
  return `${scaled < 10 ? Math.round(scaled * 10) / 10 : count(Math.round(scaled))} ${word}`
}

/** `2026-11-22 02:00 UTC`. */
export function moment(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}

/** Control characters escaped: text of rows and vendors must not steer a terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[char]
    return short ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Cut in the middle, for both ends of a value tell it apart. Counts characters, not bytes. */
export function cut(text: string, width: number): string {
  const chars = Array.from(text)
  if (chars.length <= width) return text
  const tail = Math.floor((width - 3) / 3)
  return chars.slice(0, width - 3 - tail).join('') + '...' + chars.slice(chars.length - tail).join('')
}

const NO_BREAK = '\u00a0'

/** A command in a sentence: `hang` keeps it on one line, so that it can be copied. */
export function command(text: string): string {
  return text.replaceAll(' ', NO_BREAK)
}

/** `lead`, then words broken into lines under their own beginning (or `indent`). */
export function hang(lead: string, words: string, width: number, indent = lead.length): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words.split(' ')) {
    const room = Math.max(24, width - (lines.length === 0 ? lead.length : indent))
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  lines.push(line)
  return lines.map((it, i) => (i === 0 ? lead : ' '.repeat(indent)) + it.replaceAll(NO_BREAK, ' '))
}

/** Columns apart by two spaces, no borders, so that awk works. Columns named in `right` are right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly string[] = []): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (right.includes(head[i] ?? '') ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [head, ...rows].map((cells) => line(cells) + '\n').join('')
}
