#!/usr/bin/env node
import { runProgram } from '../protocol/program/run-program.js';
import { portferry } from './cli/program.js';

// Whoever reads our output may stop reading, as `head` does: that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exit(
  await runProgram(portferry, {
    args: process.argv.slice(2),
    environment: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
  }),
);
