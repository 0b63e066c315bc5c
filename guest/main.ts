#!/usr/bin/env node
import { runProgram } from '../protocol/program/run-program.js';
import { portferryGuest } from './cli.js';

process.exit(
  await runProgram(portferryGuest, {
    args: process.argv.slice(2),
    environment: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
  }),
);
