#!/bin/sh
//usr/bin/env true; i=; for s in HUP INT TERM QUIT; do c=; trap c=1 $s; kill -s $s $$; [ "$c" ] || i="$i$s "; trap - $s; done; export PORTFERRY_IGNORED_SIGNALS="$i"; exec node "$0" "$@"
// A shell runs the line above, to find out which signals are to be ignored; see ignored-signals.ts.
import { keepIgnoring } from '../protocol/program/ignored-signals.js';
import { problemOfNode } from '../protocol/program/node-release.js';

keepIgnoring(process.env, process);
const problem = problemOfNode(process.version);
if (problem === undefined) {
  // Only now: an old Node.js could not even read them.
  import('./start.js');
} else {
  process.stderr.write(`portferry-guest: ${problem}\n`);
  process.exitCode = 1;
}
