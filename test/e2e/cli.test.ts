import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { startPortferry, startPortferryGuest, startServer, temporaryFolder } from '../fixtures/programs.js';
import { connect, Pair } from './fixtures/pair.js';

t.test('wrong usage is one line on standard error, and exit code 2', async (t) => {
  const folder = temporaryFolder(t);
  const config = join(folder, 'config.json');
  writeFileSync(config, '{"forwards": ["8080"]}');
  const broken = join(folder, 'broken.json');
  writeFileSync(broken, '{"forward": ');
  const wrong: [args: string[], reason: RegExp][] = [
    [['expose', 'http'], /http/],
    [['expose', '80:90:100:110'], /80:90:100:110/],
    [['expose', '70000'], /70000/],
    [['expose', '80-90:100'], /80-90:100/],
    [['expose'], /needs at least one SPEC/],
    [['host', '--listen', 'nowhere'], /nowhere/],
    [['host', '--listen', 'tcp:10.0.0.1:80'], /loopback/],
    [['host', '--forward', ':80'], /:80/],
    [['host', '--hold', 'long'], /--hold must be a number/],
    [['host', '--no-such'], /no-such/],
    [['host', '--config', config], /unknown key "forwards"/],
    [['host', '--config', broken], /not valid JSON/],
    [['host', '--config', join(folder, 'missing.json')], /cannot be read/],
    [['fly'], /unknown command/],
    [['up'], /needs a SPEC/],
    [[], /no command given/],
  ];
  const programs = wrong.map(([args]) => startPortferry(t, ...args));
  programs.push(startPortferryGuest(t, '--allow-dial', 'everywhere'), startPortferryGuest(t, '--no-such'));
  for (const [index, program] of programs.entries()) {
    t.equal(await program.exit(), 2, program.describe());
    t.equal(program.lines.length, 1, program.describe());
    t.match(program.lines[0], wrong[index]?.[1] ?? /^portferry-guest: /);
  }
});

t.test('without a host a command fails with exit code 1 and says what to try', async (t) => {
  const program = startPortferry(t, 'status', '--control', join(temporaryFolder(t), 'none.sock'));
  t.equal(await program.exit(), 1);
  t.match(program.lines, [/no portferry host answers on .*none\.sock.*start it with/]);
});

t.test('--json prints one JSON document and nothing else', async (t) => {
  const pair = await Pair.start(t, '127.0.0.1:0:80');
  const documents: [args: string[], expected: object][] = [
    [['status'], { channel: { state: 'connected' }, forwards: 1 }],
    [['list'], [{ proto: 'tcp', out_ip: '127.0.0.1', in_port: 80, id: /^tcp / }]],
    [['dump'], { status: {}, forwards: [{}], connections: { open: [], ended: [] } }],
    [['expose', '127.0.0.1:0:81'], [{ in_port: 81 }]],
    [['unexpose', `127.0.0.1:${await pair.port(80)}`], [{ in_port: 80 }]],
  ];
  for (const [args, expected] of documents) {
    const { code, lines } = await pair.run(...args, '--json');
    t.equal(code, 0);
    t.match(JSON.parse(lines.join('\n')), expected, args.join(' '));
  }
});

t.test('options come from flags, the environment and a file, in this order', async (t) => {
  const folder = temporaryFolder(t);
  const config = join(folder, 'config.json');
  const socket = (name: string): string => `unix:${join(folder, name)}`;
  writeFileSync(
    config,
    JSON.stringify({
      listen: socket('file'),
      control: join(folder, 'file-control'),
      forward: ['127.0.0.1:0:80'],
    }),
  );
  process.env['PORTFERRY_LISTEN'] = socket('environment');
  const host = startPortferry(t, 'host', '--config', config, '--control', join(folder, 'flag-control'));
  delete process.env['PORTFERRY_LISTEN'];
  await host.line(/^tcp 127\.0\.0\.1:\d+ → tcp 127\.0\.0\.1:80$/);
  t.ok(existsSync(join(folder, 'environment')));
  t.ok(existsSync(join(folder, 'flag-control')));
  t.notOk(existsSync(join(folder, 'file')));
  t.notOk(existsSync(join(folder, 'file-control')));
});

t.test('up --demo shows where a request went, goes on, and ends cleanly', async (t) => {
  const up = startPortferry(t, 'up', '--demo');
  const [, url = ''] = await up.line(/^(http:\/\/localhost:\d+\/)$/);
  const [, control = ''] = await up.line(/--control (\S+)'/);
  for (const hop of [
    /^client .* ms to connect$/,
    /→ host .* ms/,
    /→ channel .*stream 0 .* ms/,
    /→ guest .* ms/,
    /→ server/,
  ])
    t.match(up.lines.join('\n'), new RegExp(hop.source, 'm'));
  t.match(up.lines.join('\n'), /Answered with status 200/);
  const answer = await fetch(url, { headers: { connection: 'close' } });
  t.equal(answer.status, 200);
  t.match(await answer.text(), /It works/);
  t.equal(await up.stop('SIGINT'), 0);
  t.notOk(existsSync(dirname(control)), 'its folder is gone');
  t.equal(await connect(t, Number(new URL(url).port)).outcome(), 'ECONNREFUSED');
});

t.test('up SPEC forwards to what runs on this machine', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const up = startPortferry(t, 'up', `127.0.0.1:0:${port}`);
  const [, hostPort] = await up.line(/^tcp 127\.0\.0\.1:(\d+) → tcp 127\.0\.0\.1:\d+$/);
  const client = connect(t, Number(hostPort));
  t.equal(await client.outcome(), 'end');
  client.socket.end();
  await up.line(/Ctrl-C/);
  t.equal(await up.stop('SIGTERM'), 0);
});
