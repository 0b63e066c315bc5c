// The userland proxy, under AddressSanitizer and UndefinedBehaviorSanitizer: its arguments, its environment, and
// what the agent answers it. It runs as a process of its own, so that no coverage leads the way.
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ROOT } from '../bundle.mjs';

const SANITIZE = '-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer';

/** Processes at a time: each mostly waits. */
const AT_ONCE = 4;

/** A process takes as long as so many runs of what needs none of its own. */
const COST = 100;

/** How often what was found is tried again. */
const REPLAYS = 3;

/** How long (ms) a run may take, on a machine that does other work beside; it ends by itself after 5 s. */
const RUN_MS = 180_000;

/** What it writes to dockerd: a code, and a reason that is cut. */
const MAX_STATUS_BYTES = 8_192;

/** Linux takes 128 KiB (execve(2), MAX_ARG_STRLEN), and a character can be three bytes. */
const MAX_ARGUMENT_CHARS = 32 * 1024;

/** Stands for the path of the agent's socket. */
const SOCKET = '@';

/** The environment's socket; arguments, one a line; an empty line; the agent's answer. */
const PORT =
  '-proto\ntcp\n-host-ip\n127.0.0.1\n-host-port\n8080\n-container-ip\n172.17.0.2\n-container-port\n80';
const SEEDS = [
  `@\n${PORT}\n\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`,
  `@\n${PORT}\n\nHTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nis taken\n`,
  `@\n${PORT}\n\nHTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n4\r\nhost\r\n0\r\n\r\n`,
  '\n--proto=udp\n-host-ip=::\n-host-port=53\n-container-ip=fd00::2\n--container-port=53\n-control\n@\n\nHTTP/1.0 403 F\r\n\r\nno',
  '@\n-version\n\n',
];
const WORDS = [
  ...[
    '-use-listen-fd',
    '-no-local-ip',
    '-local-bind',
    'never',
    '-control',
    '-h',
    'sctp',
    'Content-Length: ',
    '\r\n',
  ],
  ...[
    'HTTP/1.1 500 ',
    '-1',
    'ffffffffffffffff\r\n',
    '0\r\n\r\n',
    '%s%n',
    '\0',
    '=',
    'x'.repeat(200),
    '4294967376',
  ],
];

/** @returns what scripts/fuzz.mjs reports */
export async function fuzzProxy({
  seconds = Number.POSITIVE_INFINITY,
  work = Number.POSITIVE_INFINITY,
  seed,
  folder,
  inputs,
}) {
  const program = join(folder, 'portferry-proxy');
  const env = { ...process.env, CFLAGS: SANITIZE, LDFLAGS: '', OUT: program };
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'scripts/build-proxy.mjs')], {
    env,
    encoding: 'utf8',
  });
  if (status !== 0)
    return { skipped: `it cannot be built with sanitizers: ${stderr.trim().split('\n').at(-1)}` };
  const { mutate, pick, randomFrom } = await loadMutations(folder);
  const random = randomFrom(seed);
  const known = [...inputs, ...SEEDS].map((text) => Buffer.from(text, 'latin1'));
  const most = Math.ceil(work / COST);
  const ends = performance.now() + seconds * 1000;
  let runs = 0;
  let found;
  const runSome = async (number) => {
    const path = join(folder, `agent-${number}.sock`);
    while (!found && (runs < known.length || (runs < most && performance.now() < ends))) {
      const material = { random, words: WORDS, compared: [], other: pick(random, known) };
      const input = known[runs++] ?? mutate(pick(random, known), material);
      const message = await runProxy(program, path, input);
      if (message) found = { input, message };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => runSome(number)));
  if (!found) return { runs };
  const { input, message } = found;
  const failure = { found: input.toString('latin1'), message, runs };
  for (let count = 0; count < REPLAYS; count++) {
    const again = await runProxy(program, join(folder, 'agent-again.sock'), input);
    if (again) return { ...failure, message: again };
  }
  return { ...failure, once: true };
}

async function loadMutations(folder) {
  const outfile = join(folder, 'mutate.mjs');
  const contents = `export { mutate, pick } from './test/fuzz/engine/mutate.ts';
    export { randomFrom } from './test/protocol/fixtures/memory-link.ts';`;
  const stdin = { contents, resolveDir: ROOT };
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm', logLevel: 'error' });
  return import(pathToFileURL(outfile).href);
}

/** Runs the proxy once, with an agent that answers as the input says. @returns what is wrong */
async function runProxy(program, path, input) {
  const text = input.toString('latin1');
  const end = text.indexOf('\n\n');
  const [control = '', ...args] = text
    .slice(0, end < 0 ? text.length : end)
    .split('\n')
    .map(withSocket);
  const answer = end < 0 ? Buffer.alloc(0) : input.subarray(end + 2);
  const agent = createServer({ allowHalfOpen: true });
  await new Promise((resolve) => agent.listen(path, resolve));
  // Nothing is to be bound on this machine, whatever the input says.
  const child = spawn(program, [...args, '-no-local-ip'], {
    env: { PORTFERRY_PROXY_SOCKET: control, ASAN_OPTIONS: 'detect_leaks=0' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let asked = 0;
  agent.on('connection', (socket) => {
    socket.on('error', () => {});
    if (++asked > 1) child.kill('SIGTERM');
    socket.once('data', () => socket.write(answer.subarray(0, 7), () => socket.end(answer.subarray(7))));
  });
  const outcome = await watch(child);
  await new Promise((resolve) => agent.close(resolve));
  return judge(outcome);

  function withSocket(word) {
    // No argument of a process has a zero byte in it, or is longer than the kernel takes.
    const argument = word.replaceAll(SOCKET, path).replaceAll('\0', '0').slice(0, MAX_ARGUMENT_CHARS);
    return Buffer.from(argument, 'latin1').toString('utf8');
  }
}

function watch(child) {
  return new Promise((resolve) => {
    const outcome = { late: false, stderr: '', status: '' };
    // One that waits for a socket that is not there would do so for 5 s: that is not what is looked for.
    const soon = setTimeout(() => child.kill('SIGTERM'), 300);
    const late = setTimeout(() => {
      outcome.late = true;
      child.kill('SIGKILL');
    }, RUN_MS);
    child.stdout.resume();
    child.stderr.on('data', (chunk) => {
      outcome.stderr += chunk;
    });
    child.stdio[3].on('data', (chunk) => {
      outcome.status += chunk;
    });
    child.on('error', (error) => {
      outcome.stderr += error;
    });
    child.on('close', (code, signal) => {
      clearTimeout(soon);
      clearTimeout(late);
      resolve({ ...outcome, code, signal });
    });
  });
}

function judge({ late, code, signal, stderr, status }) {
  if (late) return `it has not ended within ${RUN_MS / 1000} s`;
  if (/Sanitizer|runtime error:/.test(stderr)) return stderr;
  if (signal !== null && signal !== 'SIGTERM') return `it was ended by ${signal}: ${stderr}`;
  if (signal === null && ![0, 1, 2].includes(code)) return `it ended with ${code}: ${stderr}`;
  if (status.length > MAX_STATUS_BYTES) return `it has told dockerd ${status.length} bytes`;
  if (status !== '' && !/^(0\n|1\n.+)$/s.test(status)) return `it has told dockerd ${JSON.stringify(status)}`;
  return undefined;
}
