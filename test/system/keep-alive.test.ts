import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { type Program, requireProgram, run, startServer } from '../fixtures/programs.js';

/** How ss tells that the kernel asks after silence, and in how many seconds: `timer:(keepalive,14sec,0)`. */
const KEEP_ALIVE = /timer:\(keepalive,([\d.]+)sec,0\)/;

/** Something is not acknowledged yet; the other timer comes after that. */
const UNDER_WAY = /timer:\(on,/;

const WAYS: Record<string, [args: string[], seconds: number]> = {
  'by default': [[], 15],
  'as they are told': [['--keep-alive', '20'], 20],
  'not at all': [['--keep-alive', '0'], 0],
};

const ss = requireProgram(t, 'ss');

if (ss !== undefined) {
  for (const [name, [args, seconds]] of Object.entries(WAYS))
    t.test(`host and guest let the kernel ask after a silent peer ${name}`, async (t) => {
      const port = await startServer(t, (socket) => socket.pipe(socket));
      const pair = new Pair(t);
      pair.startHost('--forward', `127.0.0.1:0:${port}`, ...args);
      pair.startGuest(...args);
      await pair.up();
      const client = await pair.connect(port);
      client.socket.write('hello');
      await client.until(() => client.bytes > 0);
      const accepted = await socketOf(t, ss, pair.host, `sport = :${await pair.port(port)}`);
      const dialled = await socketOf(t, ss, pair.guest, `dport = :${port}`);
      for (const line of [accepted, dialled]) {
        const left = Number(KEEP_ALIVE.exec(line)?.[1] ?? 0);
        t.ok(seconds === 0 ? left === 0 : left > 0 && left <= seconds, line);
      }
    });
}

/** What ss says of a program's one established connection that the filter fits. */
async function socketOf(t: Test, ss: string, program: Program, filter: string): Promise<string> {
  for (;;) {
    const { output } = await run(t, ss, '-tnopH', 'state', 'established', `( ${filter} )`);
    const line = output.split('\n').find((text) => text.includes(`pid=${program.child.pid},`));
    if (line === undefined) throw new Error(`no such connection: ${output}`);
    if (!UNDER_WAY.test(line)) return line;
  }
}
