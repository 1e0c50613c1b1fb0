/** A message from its templates: what rows bring is escaped where Slack would read it as a mention or a link. */
import { type Batch, type Change, compileBody, compileText, Refused, type Value } from '../../src/index.ts'

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
  const { channel, blocks } = templates
  const text = templates.text ?? (blocks === undefined ? DEFAULT_TEXT : undefined)
  const problems: Problem[] = []
  // As they are written: a problem names what its author knows.
  compileBody({ channel, text, blocks }, { many: false }, (path, { message, hint }) =>
    problems.push({ path, message: hint === undefined ? message : `${message} ${hint}` }),
  )
  if (problems.length > 0) return { problems, make: () => ({ code: 'template', message: 'The templates can not be read.' }) }
  const channelOf = channel === undefined ? undefined : compileText(channel, { many: false })
  const textOf = text === undefined ? undefined : compileText(escaping(text), { many: false })
  const blocksOf = compileBody(formatted(blocks), { many: false }, () => undefined)
  return {
    problems,
    make({ run, sync }, { key, op, match, fields, id }) {
      const scope = { run, sync, rows: [{ key, op, match, fields, id, previous_match: null, remote_id: null }] }
      try {
        return checked(channelOf?.(scope).trim(), textOf?.(scope) ?? '', blocksOf(scope) ?? [])
      } catch (error) {
        if (error instanceof Refused) return { code: error.code, message: error.message }
        throw error
      }
    },
  }
}

const RAW = /(\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\})/s
const OUTPUT = /\{\{(-?)((?:"[^"]*"|'[^']*'|[^}"']|\}(?!\}))*?)(-?)\}\}/g
/** "Formatting text for app surfaces", "Escaping text": the three characters with which mentions, links and entities begin. */
const ESCAPES = ' | replace: "&", "&amp;" | replace: "<", "&lt;" | replace: ">", "&gt;" '

const CAPTURE = /\{%-?\s*capture\s+["']?([\w-]+)/g
const BOUND = /\{%-?\s*(?:assign|for)\s+([\w-]+)/g

/**
 * The template with every value that it prints escaped: what its author wrote is markup, what rows bring is not. What was
 * captured is escaped already, unless its name may stand for something else too.
 */
function escaping(template: string): string {
  const bound = new Set([...template.matchAll(BOUND)].map(([, name]) => name))
  const captured = new Set([...template.matchAll(CAPTURE)].flatMap(([, name]) => (bound.has(name) ? [] : name)))
  const escaped = (part: string): string =>
    part.replace(OUTPUT, (whole: string, left: string, value: string, right: string) =>
      captured.has(value.trim()) ? whole : `{{${left}${value}${ESCAPES}${right}}}`,
    )
  return template
    .split(RAW)
    .map((part, i) => (i % 2 === 1 ? part : escaped(part)))
    .join('')
}

/** Blocks whose formatted texts are escaped. URLs, plain texts and expressions that give whole blocks stay as they are. */
function formatted(source: unknown): unknown {
  if (Array.isArray(source)) return source.map(formatted)
  if (!isObject(source)) return source
  const { type, text } = source
  const members = Object.fromEntries(Object.entries(source).map(([name, member]) => [name, formatted(member)]))
  return (type === 'mrkdwn' || type === 'markdown') && typeof text === 'string' ? { ...members, text: escaping(text) } : members
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
