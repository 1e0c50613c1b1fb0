#!/usr/bin/env node
// Row data is personal: whatever is written, by us or by DuckDB, is for its owner alone.
process.umask(0o077)
const { main } = await import('../dist/src/cli/main.js')
const { processIo } = await import('../dist/src/cli/io.js')
const code = await main(process.argv.slice(2), processIo())
// What is on its way to a pipe gets there before the end, and a forgotten handle keeps nobody waiting.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done))))
process.exit(code)
