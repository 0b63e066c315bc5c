// Writes the manual pages into man/, from what --help says. Needs the built programs (npm run build).
import { mkdirSync, writeFileSync } from 'node:fs';
import { portferryGuest } from '../build/guest/cli.js';
import { portferry } from '../build/host/cli/program.js';
import { manPage } from '../build/protocol/program/man-page.js';

const folder = new URL('../man/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const program of [portferry, portferryGuest])
  writeFileSync(new URL(`${program.name}.1`, folder), manPage(program));
