import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { StreamDuplex } from '../../protocol/duplex.js';
import { CONTROL_SERVICE, LEASE_RESOURCE } from '../../protocol/services/control.js';
import { Peer } from '../fixtures/peer.js';
import { builtCommand, Program, startPortferry, temporaryFolder } from '../fixtures/programs.js';

/** The most (MiB) that V8 gives the host for objects: less than a third of what it may take by default. */
const HEAP_MIB = 128;

/** What the host may take in all (MiB), beside some 80 at rest: bodies, and what is made of one. */
const MOST_MEMORY_MIB = 400;

const BODY_BYTES = 4 * 1024 * 1024;

/** A host with little memory, and a guest that does as it likes. */
class Host {
  readonly program: Program;
  readonly control: string;
  readonly #t: Test;
  #peer: Peer | undefined;

  private constructor(t: Test, program: Program, control: string) {
    this.#t = t;
    this.program = program;
    this.control = control;
  }

  static async start(t: Test): Promise<Host> {
    const folder = temporaryFolder(t);
    const [channel, control] = [join(folder, 'c.sock'), join(folder, 'control.sock')];
    const [command, ...args] = builtCommand('host/main.js');
    const main = args.pop() ?? '';
    const program = Program.start(t, command, [
      ...args,
      ...[`--max-old-space-size=${HEAP_MIB}`, main],
      ...['host', '--listen', `unix:${channel}`, '--control', control],
    ]);
    await program.line(/"msg":"waiting for the channel/);
    const host = new Host(t, program, control);
    host.#peer = await Peer.connect(t, { kind: 'unix', path: channel });
    return host;
  }

  /** A stream to the service that gives leases. */
  dial(): Lease {
    if (!this.#peer) throw new Error('there is no channel');
    return new Lease(this.#peer);
  }

  async status(): Promise<unknown> {
    const program = startPortferry(this.#t, 'status', '--json', '--control', this.control);
    await program.exit();
    return JSON.parse(program.lines.join('\n'));
  }

  /** The most memory (MiB) that the host has had so far; none where the system does not tell. */
  get mostMemory(): number {
    if (process.platform !== 'linux') return 0;
    const status = readFileSync(`/proc/${this.program.child.pid}/status`, 'utf8');
    return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
  }
}

class Lease {
  readonly duplex: StreamDuplex;
  /** The status of the answer, or why there will be none. */
  readonly outcome: Promise<string>;

  constructor(peer: Peer) {
    this.duplex = new StreamDuplex((handler) =>
      peer.multiplexer.open({ proto: 'unix', path: CONTROL_SERVICE }, handler),
    );
    this.outcome = new Promise((resolve) => {
      this.duplex.setEncoding('utf8');
      this.duplex.on('data', (text: string) => resolve(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? text));
      this.duplex.on('error', (error) => resolve(error.message));
    });
  }

  put(body: string): void {
    const head = `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${Buffer.byteLength(body)}`;
    this.duplex.write(`${head}\r\n\r\n${body}`);
  }

  /** Sends the body a byte at a time, each as a chunk of its own. */
  putBytes(body: string): void {
    const chunks = [...body].map((byte) => `1\r\n${byte}\r\n`).join('');
    this.duplex.write(
      `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
    );
  }
}

const start = '{"publisher":"p","forwards":[],"j":';

/** A body of the most bytes that is taken, with what `unit` can be repeated as in it. */
const filled = (unit: string, open = '', close = ''): string => {
  const times = Math.floor((BODY_BYTES - start.length - open.length - close.length - 1) / unit.length);
  return `${start}${open}${unit.repeat(times)}${close}}`;
};

t.test('leases whose bodies are far more as objects than as text', async (t) => {
  const host = await Host.start(t);
  let unique = 0;
  const bodies = [
    filled('['),
    filled('{},', '[', '0]'),
    `${start}{${Array.from({ length: 400_000 }, () => `"${(unique++).toString(36)}":0`)}}}`,
    filled('x', '"', '"'),
  ];
  for (const body of bodies) {
    const leases = Array.from({ length: 20 }, () => host.dial());
    for (const lease of leases) lease.put(body);
    const outcomes = await Promise.all(leases.map(({ outcome }) => outcome));
    for (const lease of leases) lease.duplex.destroy();
    const what = body.slice(start.length, start.length + 10);
    t.ok(
      outcomes.every((outcome) => /^(200|400|413|503)$/.test(outcome)),
      `${what}: ${[...new Set(outcomes)]}`,
    );
    t.comment(`${what}: at most ${host.mostMemory} MiB so far`);
  }
  t.ok(host.mostMemory < MOST_MEMORY_MIB, `${host.mostMemory} MiB`);
  t.match(await host.status(), { channel: { state: 'connected' } });
  t.equal(host.program.outcome, undefined);
});

t.test('a body that comes a byte at a time', async (t) => {
  const host = await Host.start(t);
  const leases = Array.from({ length: 15 }, () => host.dial());
  for (const lease of leases) lease.putBytes(`${start}"${'x'.repeat(60_000)}"}`);
  for (const { outcome } of leases) t.equal(await outcome, '200');
  t.ok(host.mostMemory < MOST_MEMORY_MIB, `${host.mostMemory} MiB`);
});
