/** Liquid templates and transforms, compiled once: strict, pure, bounded, and with the columns they read known beforehand. */
import { Context, Drop, Liquid, Output, TypeGuards, toValueSync, Value as LiquidValue, type Template as Node } from 'liquidjs'
import { CdpError, nearest, type ErrorDetail } from './errors.ts'
import { checkArguments, FILTERS, print } from './liquid/filters.ts'
import { exact, Uncomputable } from './liquid/number.ts'

/** Variable -> value: text, number (`exact`), boolean, null, or lists and objects of them. */
export type Scope = Record<string, unknown>

export interface CompiledTemplate {
  /** The variables it reads, in the order they occur. */
  readonly inputs: readonly string[]
  /** Exactly one `{{ expression }}`: the result keeps its type. Else it is a text. */
  readonly single: boolean
  /** Text, number (`exact`), boolean, list, object; null for nothing. Throws what `templateFault` reads. */
  readonly render: (scope: Scope) => unknown
}

const TAGS = ['assign', 'capture', 'case', 'comment', 'for', 'break', 'continue', 'if', 'unless', 'raw', '#']
const FILE_TAGS = new Set(['include', 'render', 'layout', 'block'])

/** Characters and list items that one rendering may create: far above a payload (the largest request taken anywhere is 32 MB), far below harm. */
const MEMORY_LIMIT = 64_000_000
/** Milliseconds for one rendering. Only a loop in a loop in a loop gets there; a slow machine must not, for then the row would be invalid. */
const RENDER_LIMIT = 2_000

const liquid = createLiquid()

function createLiquid(): Liquid {
  const engine = new Liquid({
    strictFilters: true,
    strictVariables: true,
    // A missing member of a JSON object is an error unless `default` or `if` asks for it.
    lenientIf: true,
    outputEscape: print,
    memoryLimit: MEMORY_LIMIT,
    renderLimit: RENDER_LIMIT,
    templates: {},
  })
  for (const name of Object.keys(engine.filters)) engine.unregisterFilter(name)
  for (const [name, handler] of Object.entries(FILTERS)) engine.registerFilter(name, handler)
  for (const name of Object.keys(engine.tags)) if (!TAGS.includes(name)) delete engine.tags[name]
  return engine
}

/**
 * Compiles a template. One line end at its very end is left out: YAML's `|` adds it.
 * Throws CdpError CDP1301 (syntax), CDP1302 (no such filter), CDP1304 (not pure), CDP1305 (tag), CDP1306 (arguments).
 */
export function compileTemplate(source: string, detail: ErrorDetail = {}): CompiledTemplate {
  const nodes = parse(source.replace(/\r?\n$/, ''), detail)
  for (const node of nodes) checkNode(node, detail)
  const inputs = Object.keys(liquid.analyzeSync(nodes, { partials: false }).globals)
  const [only] = nodes
  if (nodes.length !== 1 || !(only instanceof Output)) {
    return { inputs, single: false, render: (scope) => String(liquid.renderSync(nodes, scope)) }
  }
  // liquidjs appends `outputEscape` as a last filter; here the value must keep its type.
  only.value.filters.pop()
  return { inputs, single: true, render: (scope) => evaluate(only.value, scope) }
}

function evaluate(value: LiquidValue, scope: Scope): unknown {
  const context = new Context(scope, liquid.options, { sync: true }, { liquid })
  const result: unknown = toValueSync(value.value(context, false))
  return (result instanceof Drop ? result.valueOf() : result) ?? null
}

/** The variable a transform's filters work on. */
const SUBJECT = 'value'

/**
 * Compiles a field's filters into one function of a value. Arguments are constants.
 * Throws CdpError like `compileTemplate`; CDP1306 for what is no filter or reads a column.
 */
export function compileTransforms(transforms: readonly string[], detail: ErrorDetail = {}): (value: unknown) => unknown {
  for (const transform of transforms) {
    const nodes = parse(`{{ ${SUBJECT} | ${transform} }}`, detail)
    const [only] = nodes
    if (nodes.length !== 1 || !(only instanceof Output) || only.value.filters.length < 2) {
      throw new CdpError('CDP1306', `"${transform}" is not a Liquid filter.`, {
        hint: 'Write filters like "strip" or "round: 2", one an entry.',
        ...detail,
      })
    }
    const read = Object.keys(liquid.analyzeSync(nodes, { partials: false }).variables).find((name) => name !== SUBJECT)
    if (read !== undefined) {
      const hint = `Put a text in quotes: "default: '${read}'". To read another column, write a template.`
      throw new CdpError('CDP1306', `The transform "${transform}" reads ${read}, but its arguments are constants.`, { hint, ...detail })
    }
  }
  const { render } = compileTemplate(`{{ ${[SUBJECT, ...transforms].join(' | ')} }}`, detail)
  return (value) => render({ [SUBJECT]: value })
}

/** Why a rendering failed: a stable code and a message without row values. */
export function templateFault(error: unknown): { code: string; message: string } {
  let cause = error
  while (
    cause instanceof Error &&
    !(cause instanceof Uncomputable) &&
    'originalError' in cause &&
    cause.name !== 'UndefinedVariableError'
  ) {
    if (!(cause.originalError instanceof Error)) break
    cause = cause.originalError
  }
  if (cause instanceof Uncomputable) return cause
  if (cause instanceof Error && cause.name === 'UndefinedVariableError' && 'token' in cause) {
    // Its own message quotes the computed path, which may hold row values; the token is the template's text.
    const text = (cause.token as { getText(): string }).getText()
    return { code: 'template', message: `${text} is not there in this row; \`default: nil\` behind it allows that` }
  }
  if (cause instanceof Error && / limit exceeded/.test(cause.message)) {
    return { code: 'template', message: 'the template creates too much or runs too long' }
  }
  return { code: 'template', message: 'a filter of the template failed' }
}

function parse(source: string, detail: ErrorDetail): Node[] {
  try {
    return liquid.parse(source)
  } catch (error) {
    throw syntaxError(error instanceof Error ? error : new Error(String(error)), detail)
  }
}

function syntaxError(error: Error, detail: ErrorDetail): CdpError {
  const [, text = error.message, line, column] = /^(.*?)(?:, line:(\d+), col:(\d+))?$/s.exec(error.message) ?? []
  const place = line === undefined ? '' : ` (line ${line}, column ${column} of the template)`
  const filter = /^undefined filter: (\S+)/.exec(text)?.[1]
  if (filter !== undefined) {
    const like = nearest(filter, Object.keys(FILTERS))
    const hint = like === undefined ? 'docs/mapping.md lists the filters.' : `Did you mean "${like}"?`
    return new CdpError('CDP1302', `There is no filter "${filter}"${place}.`, { hint, ...detail })
  }
  const tag = /^tag "([^"]*)" not found/.exec(text)?.[1]
  if (tag !== undefined) {
    const hint = FILE_TAGS.has(tag)
      ? 'A template reads no other files: write the text here.'
      : `The tags are ${TAGS.slice(0, -1).join(', ')}.`
    return new CdpError('CDP1305', `Templates know no tag "${tag}"${place}.`, { hint, ...detail })
  }
  return new CdpError('CDP1301', `The template can't be read: ${text}${place}.`, { hint: 'Check the braces and quotes.', ...detail })
}

/** Refuses what liquidjs would take: the time of day, numbers that lose digits, wrong constant arguments. */
function checkNode(node: Node, detail: ErrorDetail): void {
  for (const argument of node.arguments?.() ?? []) checkArgument(argument, detail)
  if (node.children === undefined) return
  for (const child of toValueSync(node.children(false, true))) checkNode(child, detail)
}

function checkArgument(argument: unknown, detail: ErrorDetail): void {
  const value = argument as Pick<LiquidValue, 'initial' | 'filters'>
  if (!(argument instanceof LiquidValue) && !TypeGuards.isFilteredValueToken(argument)) return checkToken(argument, detail)
  for (const token of value.initial.postfix) checkToken(token, detail)
  for (const [i, filter] of value.filters.entries()) {
    const args = filter.args.map((arg) => (Array.isArray(arg) ? arg[1] : arg))
    for (const arg of args) checkToken(arg, detail)
    const [start] = value.initial.postfix
    if (filter.name === 'date' && i === 0 && TypeGuards.isQuotedToken(start) && /^(now|today)$/.test(start.content)) {
      throw impure(start.content, detail)
    }
    const wrong = checkArguments(
      filter.name,
      args.map((arg) => (TypeGuards.isQuotedToken(arg) ? arg.content : undefined)),
    )
    if (wrong !== null)
      throw new CdpError('CDP1306', `${wrong}.`, { hint: 'docs/mapping.md lists the filters with their arguments.', ...detail })
  }
}

function checkToken(token: unknown, detail: ErrorDetail): void {
  if (TypeGuards.isFilteredValueToken(token)) return checkArgument(token, detail)
  if (TypeGuards.isRangeToken(token)) return [token.lhs, token.rhs].forEach((end) => checkToken(end, detail))
  if (TypeGuards.isPropertyAccessToken(token)) return [token.variable, ...token.props].forEach((part) => checkToken(part, detail))
  if (!TypeGuards.isNumberToken(token)) return
  const text = token.getText()
  if (exact(text.replace(/(\.\d*?)0*$/, '$1').replace(/\.$/, '')) instanceof Object) {
    throw new CdpError('CDP1301', `The number ${text} has more digits than a template can hold.`, {
      hint: `Write it in quotes: "${text}".`,
      ...detail,
    })
  }
}

/** The error for a template whose value would change by itself. */
export function impure(name: string, detail: ErrorDetail): CdpError {
  const hint = 'It would change every row in every run. For the time of sending write `{ meta: sent_at }`.'
  return new CdpError('CDP1304', `A template can't use "${name}": its value must depend on the row alone.`, { hint, ...detail })
}
