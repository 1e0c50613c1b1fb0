/** How an error reads: what happened, where, what to do next. Expected ones have no stack; a bug says that it is one. */
import { CdpError, ConfigErrors } from '../errors.ts'
import { HIDDEN, paint, printable } from '../render/text.ts'

export interface ErrorStyle {
  readonly colour: boolean
  /** Adds the stack and the causes of expected errors. */
  readonly debug: boolean
  /** Shows what drivers and services said in their own words, which may quote rows: on a terminal alone. */
  readonly values: boolean
}

export function errorText(error: unknown, style: ErrorStyle): string {
  if (error instanceof ConfigErrors) return configText(error, style)
  if (!(error instanceof CdpError)) return bugText(error, style)
  const { code, message, where, frame, hint } = error
  const lines = [`${paint(style, 'red', `error ${code}`)}: ${lineSafe(message)}`]
  if (where !== undefined && !message.includes(where)) lines.push(`  at ${lineSafe(where)}`)
  if (frame !== undefined) lines.push(frame)
  if (hint !== undefined) lines.push(`  ${lineSafe(hint)}`)
  return lines.join('\n') + '\n' + (style.debug ? stackOf(error, style) : '')
}

/** All problems of all files; the count comes last, where the eye is. */
function configText(all: ConfigErrors, style: ErrorStyle): string {
  const blocks = all.errors.map(({ code, message, where, frame, hint }) => {
    const lines = [`${where === undefined ? '' : `${paint(style, 'bold', where)}  `}${lineSafe(message)}  (${code})`]
    if (frame !== undefined) lines.push(frame)
    if (hint !== undefined) lines.push(`  ${lineSafe(hint)}`)
    return lines.join('\n') + '\n'
  })
  return [...blocks, `${paint(style, 'red', all.message)}.\n`].join('\n') + (style.debug ? stackOf(all, style) : '')
}

function bugText(error: unknown, style: ErrorStyle): string {
  return `${paint(style, 'red', 'This is a bug in cdp-sync')}, not of your project. Please report it with the lines below (npm bugs cdp-sync).\n${stackOf(error, style)}`
}

function stackOf(error: unknown, style: ErrorStyle): string {
  if (!(error instanceof Error)) return `${String(error)}\n`
  const { stack = error.message, cause } = error
  if (cause === undefined) return `${stack}\n`
  const told = style.values || cause instanceof CdpError ? stackOf(cause, style) : wordless(cause)
  return `${stack}\ncaused by: ${told}`
}

/** Name, code and place of an error without its message. */
function wordless(error: unknown): string {
  if (!(error instanceof Error)) return `${typeof error}\n`
  const { code } = error as { code?: unknown }
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line))
  return [`${error.name}${typeof code === 'string' ? ` ${code}` : ''}: ${HIDDEN}`, ...frames].join('\n') + '\n'
}

/** Line breaks of a message stay, other control characters do not. */
function lineSafe(text: string): string {
  return text.split('\n').map(printable).join('\n')
}
