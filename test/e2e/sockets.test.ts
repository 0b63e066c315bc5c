import { join } from 'node:path';
import t from 'tap';
import { builtCommand, forwardedPort, Program, startServer, temporaryFolder } from '../fixtures/programs.js';
import { checksumOf, pattern } from '../protocol/fixtures/observer.js';
import { connect, logLines, Pair } from './fixtures/pair.js';

/** Loaded first, it makes a Node that does not let programs have its internals. */
const NO_INTERNALS = 'data:text/javascript,process.binding = () => { throw new Error("not permitted") }';

/** Loaded first, it makes a Node on a machine that koffi has no build for. */
const NO_KOFFI =
  'data:text/javascript,import Module from "node:module"; const load = Module._load; Module._load = (name, ...more) => { if (name === "koffi") throw new Error("no build"); return load(name, ...more) }';

t.test('which sockets are in use is in status, and once in the log of both programs', async (t) => {
  const pair = await Pair.start(t);
  const { lines } = await pair.run('status');
  t.match(lines.join('\n'), /^sockets +libuv's handles$/m);
  const { lines: json } = await pair.run('status', '--json');
  t.match(JSON.parse(json.join('\n')), { sockets: { kind: 'handles', resetsAtDeath: true } });
  for (const program of [pair.host, pair.guest])
    t.match(
      logLines(program).filter(({ sockets }) => sockets),
      [{ level: 30, msg: "sockets: libuv's handles", sockets: { kind: 'handles', resetsAtDeath: true } }],
    );
});

const LACKS: Record<string, [preload: string, report: object, text: RegExp, outcome: RegExp]> = {
  "Node's internals": [
    NO_INTERNALS,
    { kind: 'node:net', reason: 'this Node does not offer them', resetsAtDeath: true },
    /sockets +node:net, which is slower \(handles: this Node does not offer them\)$/m,
    /^ECONNRESET$/,
  ],
  'the C library': [
    NO_KOFFI,
    { kind: 'handles', resetsAtDeath: false },
    /sockets +libuv's handles; the C library cannot be called here: .* may look complete$/m,
    /^end$/,
  ],
};

for (const [lack, [preload, report, text, outcome]] of Object.entries(LACKS))
  t.test(`without ${lack} everything arrives, and both programs say what they do without`, async (t) => {
    const folder = temporaryFolder(t);
    const [channel, control] = [`unix:${join(folder, 'c')}`, join(folder, 'control')];
    const start = (main: 'host/main.js' | 'guest/main.js', ...args: string[]): Program => {
      const [command, ...rest] = builtCommand(main);
      const words = rest.flatMap((word) =>
        word === process.execPath ? [word, '--import', preload] : [word],
      );
      return Program.start(t, command, [...words, ...args]);
    };
    const answer = pattern(8 * 1024 * 1024);
    const port = await startServer(t, (socket) => {
      socket.on('data', (chunk) => {
        if (chunk.includes('?')) socket.write('half of it');
      });
      socket.on('end', () => socket.end(answer));
    });
    const host = start(
      'host/main.js',
      ...['host', '--listen', channel, '--control', control, '--forward', `127.0.0.1:0:${port}`],
    );
    const guest = start('guest/main.js', '--connect', channel);
    for (const program of [host, guest]) {
      await program.line(/"msg":"sockets: /);
      t.match(
        logLines(program).filter(({ sockets }) => sockets),
        [{ level: 40, sockets: report }],
      );
    }
    const hostPort = await forwardedPort(host, port);
    await host.line(/the channel is up/);

    const client = connect(t, hostPort);
    client.socket.end('everything');
    t.equal(await client.checksum(), checksumOf(answer));

    const status = start('host/main.js', 'status', '--control', control);
    t.equal(await status.exit(), 0);
    t.match(status.lines.join('\n'), text);

    const cut = connect(t, hostPort);
    cut.socket.write('?');
    await cut.until(() => cut.bytes > 0);
    await host.stop('SIGKILL');
    t.match(await cut.outcome(), outcome);
  });
