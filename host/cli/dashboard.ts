import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { writeJson } from './output.js';

/** A program that opens an address; it is given as the last argument. */
type Opener = readonly [file: string, ...args: string[]];

/** How long (ms) an opener is waited for: one that cannot do it says so at once, and one that can may run on. */
const OPENER_WAIT_MS = 2_000;

/** What this system opens addresses with. */
export function systemOpener(platform: NodeJS.Platform = process.platform): Opener {
  return platform === 'darwin' ? ['open'] : ['xdg-open'];
}

/** `portferry dashboard` */
export function makeDashboardCommand(opener: Opener = systemOpener()): CommandDeclaration {
  return defineCommand({
    name: 'dashboard',
    describe: "Open a running host's page in the browser, and print its address",
    options: {
      ...CLIENT_OPTIONS,
      'no-open': { type: 'boolean', describe: 'Only print the address' },
    },
    examples: [
      ['$0 dashboard', 'forwards, connections and why they fail, in the browser'],
      ['$0 dashboard --no-open', 'print the address, to open it oneself'],
      ['$0 dashboard --no-open --json', '{"address": "http://127.0.0.1:7678/#token=…", …}'],
    ],
    epilogue:
      'A host that was started without --dashboard switches it on, until it ends. Whoever has the address can read what the page shows, as long as they are on this machine.',
    async run({ control, json, 'no-open': printOnly }, _operands, { stdout, stderr, environment }) {
      const report = await makeClient(control, environment).dashboard();
      if (json) writeJson(stdout, report);
      else stdout.write(`${report.address}\n`);
      if (printOnly) return;
      // The address is there to be used all the same.
      await open(opener, report.address).catch((thrown) =>
        stderr.write(`portferry: warning: ${messageOf(thrown)}; open the address in a browser yourself\n`),
      );
    },
  });
}

export const dashboardCommand = makeDashboardCommand();

/** @throws OperationError */
async function open([file, ...args]: Opener, address: string): Promise<void> {
  const child = spawn(file, [...args, address], { detached: true, stdio: 'ignore' });
  const waited = new AbortController();
  try {
    const ended = once(child, 'exit', { signal: waited.signal }) as Promise<[number | null]>;
    const [code] = await Promise.race([ended, delay(OPENER_WAIT_MS, [0], { signal: waited.signal })]);
    if (code !== 0) throw new OperationError(`${file} could not open it (exit code ${code})`);
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT') throw thrown;
    throw new OperationError(`there is no ${file} on PATH to open it`);
  } finally {
    waited.abort();
    child.unref();
  }
}
