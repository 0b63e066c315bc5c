import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import {
  builtCommand,
  Program,
  requireProgram,
  run,
  startPortferry,
  startServer,
} from '../fixtures/programs.js';

const DISSECTOR = fileURLToPath(new URL('../../host/capture/portferry.lua', import.meta.url));

/** What TCP analysis says of a capture that is not as on a wire, and checksums that are wrong. */
const COMPLAINTS =
  'tcp.analysis.flags || tcp.checksum.status == "Bad" || ip.checksum.status == "Bad" || udp.checksum.status == "Bad" || _ws.malformed';

/** Runs tshark on a file; its warning for root is left out. */
async function tshark(t: Test, program: string, file: string, ...args: string[]): Promise<string> {
  const checks = ['tcp', 'ip', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const { outcome, output } = await run(t, program, '-r', file, ...checks, ...args);
  t.equal(outcome, 0, output);
  return output
    .split('\n')
    .filter((line) => !line.startsWith('Running as user'))
    .join('\n');
}

/** A capture that runs until it is stopped. */
async function startCapture(
  t: Test,
  pair: Pair,
  ...args: string[]
): Promise<{ file: string; stop(): Promise<void>; program: Program }> {
  const file = join(pair.folder, `${args[0]}.pcapng`.replace(/[/-]/g, ''));
  const program = startPortferry(t, 'capture', ...args, '--control', pair.control, '-w', file);
  await program.line(/^capturing /);
  const stop = async (): Promise<void> => {
    t.equal(await program.stop('SIGINT'), 0, program.describe());
    await program.line(/^\d+ packets?, .* none dropped: it was told to stop$/);
  };
  return { file, stop, program };
}

async function startWeb(t: Test, body: Buffer): Promise<number> {
  const server = http.createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

t.test('HTTP in a capture is what it was, in both directions, without a complaint of tshark', async (t) => {
  const program = requireProgram(t, 'tshark');
  const curl = program && requireProgram(t, 'curl');
  if (!curl) return;
  const body = randomBytes(300_000);
  const web = await startWeb(t, body);
  const nobody = await freePort();
  const pair = await Pair.start(t, `127.0.0.1:0:${web}`, `127.0.0.1:0:${nobody}`);
  const port = await pair.port(web);
  const capture = await startCapture(t, pair, String(port));
  const refused = await startCapture(t, pair, String(await pair.port(nobody)));
  await run(t, curl, '-sS', '-o', join(pair.folder, 'body'), `http://127.0.0.1:${port}/`);
  const { outcome } = await run(t, curl, '-sS', `http://127.0.0.1:${await pair.port(nobody)}/`);
  // The reset may come before curl has sent what it asks.
  t.ok(outcome === 55 || outcome === 56, `curl sees a reset: ${outcome}`);
  await capture.stop();
  await refused.stop();

  t.equal(statSync(capture.file).mode & 0o777, 0o600);
  t.equal(await tshark(t, program, capture.file, '-Y', COMPLAINTS), '');
  const fields = ['-T', 'fields', '-e', 'http.request.uri', '-e', 'http.response.code', '-Y', 'http'];
  t.equal(await tshark(t, program, capture.file, ...fields), '/\t\n\t200');
  const followed = await tshark(t, program, capture.file, '-q', '-z', 'follow,tcp,raw,0');
  const answered = [...followed.matchAll(/^\t([0-9a-f]+)$/gm)].map(([, hex]) => hex).join('');
  t.ok(Buffer.from(answered, 'hex').subarray(-body.length).equals(body), 'the exact bytes');
  const comments = await tshark(t, program, capture.file, '-T', 'fields', '-e', 'frame.comment');
  t.match(
    comments,
    new RegExp(`connection \\d+: tcp 127.0.0.1:${port} → tcp 127.0.0.1:${web}; client 127.0.0.1:\\d+`),
  );
  t.match(comments, /ended: --: the (client|server) ended the connection/);

  t.equal(
    await tshark(t, program, refused.file, '-T', 'fields', '-e', 'tcp.flags.str'),
    '··········S·\n·······A·R··',
  );
  t.match(
    await tshark(t, program, refused.file, '-T', 'fields', '-e', 'frame.comment'),
    /ended: SC ECONNREFUSED: the guest could not reach/,
  );
});

t.test('TLS is decoded', async (t) => {
  const program = requireProgram(t, 'tshark');
  const openssl = program && requireProgram(t, 'openssl');
  if (!openssl) return;
  const port = await freePort();
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const [key, certificate] = [join(pair.folder, 'key'), join(pair.folder, 'certificate')];
  const subject = ['-subj', '/CN=localhost', '-days', '1', '-nodes', '-newkey', 'rsa:2048'];
  await run(t, openssl, 'req', '-x509', ...subject, '-keyout', key, '-out', certificate);
  const server = Program.start(t, openssl, [
    's_server',
    '-accept',
    `127.0.0.1:${port}`,
    '-key',
    key,
    '-cert',
    certificate,
    '-www',
  ]);
  await server.line(/^ACCEPT/);
  const host = await pair.port(port);
  const capture = await startCapture(t, pair, String(host));
  await run(t, openssl, 's_client', '-connect', `127.0.0.1:${host}`, '-servername', 'ferry.test');
  await capture.stop();
  const as = ['-d', `tcp.port==${host},tls`];
  t.equal(await tshark(t, program, capture.file, ...as, '-Y', COMPLAINTS), '');
  const names = await tshark(
    t,
    program,
    capture.file,
    ...as,
    '-T',
    'fields',
    '-e',
    'tls.handshake.extensions_server_name',
    '-Y',
    'tls.handshake.type == 1',
  );
  t.equal(names, 'ferry.test');
  t.match(await tshark(t, program, capture.file, ...as), /Server Hello/);
});

/** The start of a session of PostgreSQL, as a server and a client of it have it. */
const POSTGRES = {
  startup: Buffer.concat([
    Buffer.from([0, 0, 0, 33, 0, 3, 0, 0]),
    Buffer.from('user\0ferry\0database\0x\0\0'),
  ]),
  ready: Buffer.concat([
    Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]),
    Buffer.from([0x53, 0, 0, 0, 25]),
    Buffer.from('server_version\x0015.0\0'),
    Buffer.from([0x5a, 0, 0, 0, 5, 0x49]),
  ]),
  query: Buffer.concat([Buffer.from([0x51, 0, 0, 0, 13]), Buffer.from('SELECT 1\0')]),
};

t.test('PostgreSQL is decoded, as it comes, by a tshark that reads standard output', async (t) => {
  const program = requireProgram(t, 'tshark');
  if (!program) return;
  POSTGRES.startup.writeUInt32BE(POSTGRES.startup.length, 0);
  const server = await startServer(t, (socket) => {
    socket.once('data', () => {
      socket.write(POSTGRES.ready);
      socket.on('data', () => socket.end());
    });
  });
  const pair = await Pair.start(t, `127.0.0.1:0:${server}`);
  const port = await pair.port(server);
  const [node, ...portferry] = builtCommand('host/main.js');
  const line = [node, ...portferry, 'capture', String(port), '-w', '-', '--control', pair.control]
    .map((word) => `'${word}'`)
    .join(' ');
  const live = Program.start(
    t,
    'sh',
    ['-c', `${line} | '${program}' -l -r - -d tcp.port==${port},pgsql -Y pgsql -O pgsql`],
    { endSignal: 'SIGTERM' },
  );
  await live.line(/^capturing /);
  const client = net.connect(port, '127.0.0.1');
  client.write(POSTGRES.startup);
  await once(client, 'data');
  client.end(POSTGRES.query);
  await live.line(/Parameter value: ferry/);
  await live.line(/Query: SELECT 1/);
  await pair.host.stop();
  t.equal(await live.exit(), 0);
  t.match(live.lines.join('\n'), /; none dropped: the host has stopped/);
});

/** A question for the address of ferry.test, and its answer. */
const QUESTION = Buffer.from('12340100000100000000000005666572727904746573740000010001', 'hex');
const ANSWER = Buffer.from(
  '12348180000100010000000005666572727904746573740000010001c00c000100010000003c00047f000001',
  'hex',
);

t.test('DNS over UDP is decoded', async (t) => {
  const program = requireProgram(t, 'tshark');
  if (!program) return;
  const server = dgram.createSocket('udp4', (_question, from) =>
    server.send(ANSWER, from.port, from.address),
  );
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const pair = await Pair.start(t, `127.0.0.1:0:${server.address().port}/udp`);
  const port = await pair.port(server.address().port);
  const capture = await startCapture(t, pair, `${port}/udp`);
  const client = dgram.createSocket('udp4');
  client.connect(port, '127.0.0.1');
  await once(client, 'connect');
  client.send(QUESTION);
  await once(client, 'message');
  client.close();
  await capture.stop();
  const as = ['-d', `udp.port==${port},dns`];
  t.equal(await tshark(t, program, capture.file, ...as, '-Y', COMPLAINTS), '');
  const fields = ['-T', 'fields', '-e', 'dns.qry.name', '-e', 'dns.a'];
  t.equal(await tshark(t, program, capture.file, ...as, ...fields), 'ferry.test\t\nferry.test\t127.0.0.1');
});

t.test('frames are decoded by the dissector, handshakes and extensions too', async (t) => {
  const program = requireProgram(t, 'tshark');
  const curl = program && requireProgram(t, 'curl');
  if (!curl) return;
  const web = await startWeb(t, Buffer.from('hello'));
  const nobody = await freePort();
  const pair = await Pair.start(t, `127.0.0.1:0:${web}`, `127.0.0.1:0:${nobody}`);
  const capture = await startCapture(t, pair, '--frames', '--snaplen', '200');
  await pair.guest.stop('SIGKILL');
  pair.startGuest();
  await pair.up(2);
  await run(t, curl, '-sS', `http://127.0.0.1:${await pair.port(web)}/`);
  await run(t, curl, '-sS', `http://127.0.0.1:${await pair.port(nobody)}/`);
  await pair.guest.stop();
  await capture.stop();
  const decoded = await tshark(t, program, capture.file, '-X', `lua_script:${DISSECTOR}`);
  for (const line of [
    /host → guest .* Handshake \{"portferry":1,"version":/,
    /guest → host .* Handshake \{"portferry":1,"version":/,
    /host → guest .* Source \d+, client 127\.0\.0\.1:\d+, listener 127\.0\.0\.1:\d+/,
    new RegExp(`host → guest .* Open \\d+, tcp 127\\.0\\.0\\.1:${web}`),
    /guest → host .* OpenResult \d+, connected after \d+ µs/,
    /guest → host .* OpenResult \d+, dial failed after \d+ µs: ECONNREFUSED "/,
    /guest → host .* Data \d+, \d+ bytes/,
    /Shutdown \d+/,
    /Close \d+/,
    /GoAway, STOPPED "/,
  ])
    t.match(decoded, line);
  t.equal(
    await tshark(
      t,
      program,
      capture.file,
      '-X',
      `lua_script:${DISSECTOR}`,
      '-Y',
      'portferry.malformed || _ws.lua.error',
    ),
    '',
  );
});

t.test('every frame of the test vectors in SPEC.md is decoded', async (t) => {
  const program = requireProgram(t, 'tshark');
  if (!program) return;
  const { writeFileSync } = await import('node:fs');
  const { enhancedPacket, interfaceDescription, sectionHeader } = await import(
    '../../host/capture/pcapng.js'
  );
  const { framePacket, LINKTYPE_FRAMES } = await import('../../host/capture/frame-packet.js');
  const { temporaryFolder } = await import('../fixtures/programs.js');
  const spec = readFileSync(fileURLToPath(new URL('../../protocol/SPEC.md', import.meta.url)), 'utf8');
  const rows = [
    ...spec.matchAll(
      /^\| `([0-9a-f ]+)` +\| (\w+ \d+, [^|]*?|(?:Close|Shutdown) \d+|P[io]ng, token 1|GoAway, [^|]*?|handshake of [^|]*?) *\|$/gm,
    ),
  ];
  const file = join(temporaryFolder(t), 'vectors.pcapng');
  const blocks = rows.map(([, hex = '', meaning = '']) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const kind = meaning.startsWith('handshake') ? 'handshake' : 'frame';
    // A vector of Data may end before its payload.
    const facts = { micros: 1, outbound: true, comments: [] };
    return enhancedPacket({ ...framePacket(false, kind, bytes, bytes.length), ...facts }, 262_144, 0);
  });
  const head = [
    sectionHeader({ application: 'test', hardware: '', os: '', comments: [] }),
    interfaceDescription({ linkType: LINKTYPE_FRAMES, snapLength: 262_144, name: 'x', description: 'x' }),
  ];
  writeFileSync(file, Buffer.concat([...head, ...blocks]));
  const args = ['-X', `lua_script:${DISSECTOR}`, '-T', 'fields', '-e', '_ws.col.Info'];
  const infos = (await tshark(t, program, file, ...args)).split('\n');
  t.ok(rows.length >= 24, `${rows.length} vectors`);
  for (const [index, [, , meaning = '']] of rows.entries()) {
    const info = infos[index] ?? '';
    const [, first = ''] = /^(\w+)/.exec(meaning) ?? [];
    t.match(info.toLowerCase(), new RegExp(`^${first.toLowerCase()}`), `${meaning}: ${info}`);
    const [, id] = /^\w+ (\d+)/.exec(meaning) ?? [];
    if (id !== undefined) t.match(info, new RegExp(`^\\w+ ${id}\\b`));
    for (const word of meaning.match(/E[A-Z]{4,}|127\.0\.0\.1:\d+|\[[^\]]+\]:\d+|\d{5,}/g) ?? [])
      t.match(info, word, `${meaning}: ${info}`);
  }
  const { output } = await run(
    t,
    program,
    '-r',
    file,
    '-X',
    `lua_script:${DISSECTOR}`,
    '-Y',
    '_ws.lua.error',
  );
  t.notMatch(output, /lua/i);
});

t.test('Wireshark lists forwards as interfaces, and captures by them', async (t) => {
  const program = requireProgram(t, 'tshark');
  const curl = program && requireProgram(t, 'curl');
  if (!curl) return;
  const web = await startWeb(t, Buffer.from('hello'));
  const pair = await Pair.start(t, `127.0.0.1:0:${web}`);
  const port = await pair.port(web);
  const [node, ...portferry] = builtCommand('host/main.js');
  const env = { HOME: pair.folder, XDG_CONFIG_HOME: '' };
  const install = Program.start(
    t,
    node,
    [...portferry, 'capture', '--install-extcap', '--control', pair.control],
    { env },
  );
  t.equal(await install.exit(), 0, install.describe());
  const list = Program.start(t, program, ['-D'], { env });
  await list.exit();
  t.match(
    list.lines.join('\n'),
    `portferry-127.0.0.1-${port} (portferry: tcp 127.0.0.1:${port} → tcp 127.0.0.1:${web})`,
  );
  t.match(list.lines.join('\n'), 'portferry-frames (portferry: frames of the channel');

  const live = Program.start(
    t,
    program,
    ['-l', '-i', `portferry-127.0.0.1-${port}`, '-Y', 'http', '-c', '11'],
    { env },
  );
  // It may say that it captures before it does: it is asked for the page until it has seen enough, which ends it.
  while (live.outcome === undefined) await run(t, curl, '-sS', `http://127.0.0.1:${port}/`);
  t.match(live.lines.join('\n'), /GET \/ HTTP\/1\.1/);
  t.match(live.lines.join('\n'), /HTTP\/1\.1 200 OK/);

  await pair.host.stop();
  const later = Program.start(t, program, ['-D'], { env });
  await later.exit();
  t.match(later.lines.join('\n'), /portferry \(portferry: no host is running/);
  const failing = Program.start(t, program, ['-i', 'portferry', '-c', '1'], { env });
  // It does not show what the extcap program says, as Wireshark does; but it ends.
  t.not(await failing.exit(), 0);
});
