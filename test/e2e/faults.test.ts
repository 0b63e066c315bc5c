import type net from 'node:net';
import t from 'tap';
import { builtCommand, Program, startServer } from '../fixtures/programs.js';
import { connect, logLines, Pair } from './fixtures/pair.js';

const FAULT = new URL('./fixtures/fault.mjs', import.meta.url).href;
const FATAL = 60;

/** The command line of a program in which signals cause faults. */
function faulty(main: 'host/main.js' | 'guest/main.js'): [command: string, ...args: string[]] {
  const [command, ...args] = builtCommand(main);
  return [command, ...args.slice(0, -1), '--import', FAULT, ...args.slice(-1)];
}

const FAULTS = [
  ['SIGUSR2', /TypeError: injected by a test\n +at /],
  ['SIGWINCH', /RangeError: rejected by a test\n +at /],
] as const;

for (const [signal, stack] of FAULTS) {
  for (const half of ['host', 'guest'] as const) {
    t.test(
      `a fault of the ${half} (${signal}) resets what is open, and is logged with its stack`,
      async (t) => {
        let accept: (socket: net.Socket) => void = () => {};
        const accepted = new Promise<net.Socket>((resolve) => {
          accept = resolve;
        });
        const guestPort = await startServer(t, (socket) => {
          accept(socket);
          socket.write('the first half');
        });
        const pair = new Pair(t);
        const [hostCommand, ...hostArgs] = faulty('host/main.js');
        const [guestCommand, ...guestArgs] = faulty('guest/main.js');
        const programs = {
          host: Program.start(t, hostCommand, [
            ...[...hostArgs, 'host', '--listen', pair.channel, '--control', pair.control],
            ...['--forward', `127.0.0.1:0:${guestPort}`],
          ]),
          guest: Program.start(t, guestCommand, [...guestArgs, '--connect', pair.channel]),
        };
        const [, port] = await programs.host.line(/^tcp 127\.0\.0\.1:(\d+) /);
        await programs.host.line(/the channel is up/);
        const client = connect(t, Number(port));
        await client.until(() => client.bytes > 0);
        const server = await accepted;
        const serverGone = new Promise((resolve) => server.on('error', resolve).on('close', resolve));
        programs[half].child.kill(signal);
        t.equal(await programs[half].exit(), 1);
        t.equal(await client.outcome(), 'ECONNRESET');
        t.match(await serverGone, { code: 'ECONNRESET' });
        const fatal = logLines(programs[half]).filter(({ level }) => level === FATAL);
        t.match(fatal, [{ msg: /^a fault of portferry's own ends it; please report this line: / }]);
        t.match(fatal[0]?.['err'], { stack });
      },
    );
  }
}
