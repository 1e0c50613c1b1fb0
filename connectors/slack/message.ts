/** A message from its templates: what rows bring is escaped where Slack would read it as a mention or a link. */
import {
  type Batch,
  CdpError,
  type Change,
  compileBody,
  type Compiled,
  compileText,
  type Fields,
  Refused,
  type RequestScope,
  type Value,
} from '../../src/index.ts'

/** "chat.postMessage": longer texts are cut. */
const LONGEST_TEXT = 40_000
/** "Block Kit reference": blocks of a message; characters in the text of a section, a header, a markdown block. */
const MOST_BLOCKS = 50
const LONGEST: Readonly<Record<string, number>> = { section: 3000, header: 150, markdown: 12_000 }

export interface Templates {
  readonly channel?: string | undefined
  readonly text?: string | undefined
  readonly blocks?: unknown
}

export interface Message {
  readonly channel?: string
  readonly text?: string
  readonly blocks?: Value
}

/** Why a row gives no message that Slack would take. */
export interface Flaw {
  readonly code: string
  readonly message: string
  readonly field?: string
}

export interface Problem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Without templates the field `text` is the message. */
const DEFAULT_TEXT = '{{ fields.text }}'

/** Compiles the templates once. `problems` are those of the options; with any of them nothing may be made. */
export function compileMessage(templates: Templates): {
  readonly problems: readonly Problem[]
  readonly make: (batch: Batch, change: Change) => Message | Flaw
} {
  const problems: Problem[] = []
  const fail = (path: readonly (string | number)[], { message, hint }: CdpError): void =>
    void problems.push({ path, message: hint === undefined ? message : `${message} ${hint}` })
  function compiled(name: 'channel' | 'text', source: string | undefined): Compiled<string> | undefined {
    if (source === undefined) return undefined
    try {
      return compileText(source, { many: false })
    } catch (error) {
      if (!(error instanceof CdpError)) throw error
      fail([name], error)
      return undefined
    }
  }
  const channel = compiled('channel', templates.channel)
  const text = compiled('text', templates.text ?? (templates.blocks === undefined ? DEFAULT_TEXT : undefined))
  const blocks = compileBody(templates.blocks, { many: false }, (path, error) => fail(['blocks', ...path], error))
  return {
    problems,
    make(batch, change) {
      const plain = scopeOf(batch, change, (value) => value)
      const escaped = scopeOf(batch, change, escapedText)
      try {
        const list = choose(templates.blocks, blocks(plain), blocks(escaped), null)
        return checked(channel?.(plain).trim(), text?.(escaped) ?? '', list ?? [])
      } catch (error) {
        if (error instanceof Refused) return { code: error.code, message: error.message }
        throw error
      }
    },
  }
}

/** "Formatting text for app surfaces", "Escaping text": the three characters with which mentions, links and entities begin. */
const escapedText = (value: Value): Value =>
  typeof value === 'string' ? value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;') : value

/** Lists and objects in fields stay as they are: a column that holds blocks is no text of a person. */
function scopeOf({ run, sync }: Batch, change: Change, treat: (value: Value) => Value): RequestScope {
  const all = (fields: Fields): Fields => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, treat(value)]))
  const { key, op, match, fields, id } = change
  const row = { key: treat(key) as string, op, match: all(match), fields: all(fields), previous_match: null, remote_id: null, id }
  return { run, sync, rows: [row] }
}

/** Texts that Slack formats are taken from the escaped rendering; URLs, plain texts and values from the other. */
function choose(source: unknown, plain: Value | undefined, escaped: Value | undefined, name: string | null): Value | undefined {
  if (typeof source === 'string') return typeof plain === 'string' && name === 'text' ? escaped : plain
  if (Array.isArray(source) && Array.isArray(plain) && Array.isArray(escaped))
    return (plain as readonly Value[]).map((item, i) => choose(source[i], item, (escaped as readonly Value[])[i], null) ?? null)
  if (!isObject(source) || !isObject(plain) || !isObject(escaped)) return plain
  const formatted = source['type'] === 'mrkdwn' || source['type'] === 'markdown'
  const entries = Object.entries(plain).map(([key, value]) => [
    key,
    choose(source[key], value, escaped[key] as Value, formatted ? key : null),
  ])
  return Object.fromEntries(entries) as Record<string, Value>
}

const flaw = (code: string, message: string, field: string): Flaw => ({ code, message, field })

function checked(channel: string | undefined, text: string, blocks: Value): Message | Flaw {
  if (channel === '') return flaw('channel_not_found', 'The channel is empty.', 'channel')
  if (text.length > LONGEST_TEXT)
    return flaw('msg_too_long', `The text has ${text.length} characters; Slack cuts after ${LONGEST_TEXT}.`, 'text')
  if (!Array.isArray(blocks)) return flaw('invalid_blocks', 'The blocks are no list.', 'blocks')
  const list = blocks as readonly Value[]
  if (list.length > MOST_BLOCKS) return flaw('invalid_blocks', `There are ${list.length} blocks; Slack takes ${MOST_BLOCKS}.`, 'blocks')
  for (const [i, block] of list.entries()) {
    const long = tooLong(block)
    if (long !== undefined) return flaw('invalid_blocks', `Block ${i + 1}: ${long}`, 'blocks')
  }
  if (text.trim() === '' && list.length === 0) return flaw('no_text', 'The message is empty.', 'text')
  return { ...(channel === undefined ? {} : { channel }), ...(text === '' ? {} : { text }), ...(list.length === 0 ? {} : { blocks: list }) }
}

function tooLong(block: Value): string | undefined {
  if (!isObject(block)) return 'it is no object.'
  const { type, text } = block
  const words = isObject(text) ? text['text'] : text
  const most = typeof type === 'string' ? LONGEST[type] : undefined
  if (typeof words !== 'string' || most === undefined || words.length <= most) return undefined
  return `its text has ${words.length} characters; Slack takes ${most}.`
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
