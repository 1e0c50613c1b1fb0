/** The result as a Markdown table, and the machine it holds for. */
import { cpus, release, totalmem, type } from 'node:os'
import type { Figure } from './measurements.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_gb: number
  readonly system: string
  readonly node: string
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memory_gb: Math.round(totalmem() / 2 ** 30),
  system: `${type()} ${release().split('-')[0]}`,
  node: process.version,
})

export function tableOf(report: { command: string; seed: number; machine: Machine; figures: readonly Figure[] }): string {
  const { cpu, cores, memory_gb, system, node } = report.machine
  const lines = report.figures.map(
    ({ what, measured, target, met }) => `| ${what} | ${measured} | ${target} | ${met === null ? '' : met ? 'yes' : '**no**'} |`,
  )
  return [
    '| measure | measured | target | met |',
    '| --- | --- | --- | --- |',
    ...lines,
    '',
    `${cpu}, ${cores} cores, ${memory_gb} GB, ${system}, Node ${node}, seed ${report.seed}. Again: \`${report.command}\``,
  ].join('\n')
}
