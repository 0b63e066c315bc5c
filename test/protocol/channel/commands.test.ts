import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { ChannelLog } from '../../../protocol/channel/channel-log.js';
import { parseAddress } from '../../../protocol/transport/channel-address.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import type { StandardDescriptors } from '../../../protocol/transport/stdio.js';
import { makePipe } from '../../fixtures/descriptors.js';
import { INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { makeKeeper, STOPPED } from './fixtures/keeper.js';

const BRIDGE = fileURLToPath(new URL('../../fixtures/bridge.mjs', import.meta.url));

/** A command that joins its standard input and output with a unix socket. */
const bridgeTo = (path: string): string => `exec:env -u NODE_OPTIONS ${process.execPath} ${BRIDGE} ${path}`;

const TRY_IT = '; the command is to start "portferry-guest --connect stdio:" at the other end';

t.test('a command is kept up as a channel', async (t) => {
  const path = `${temporaryFolder(t)}/c`;
  const first = await Peer.listen(t, { kind: 'unix', path });
  const { keeper, owner, log } = makeKeeper(t, 'connect', { address: parseAddress(bridgeTo(path)) });
  await keeper.start();
  await owner.signal.until(() => owner.ups === 1);
  t.match(keeper.state, { state: 'connected', address: 'exec:env …' });
  await first.until(() => first.connected);

  first.close();
  await owner.signal.until(() => owner.downs.length === 1);
  t.match(owner.downs, [{ code: 'CHANNEL_CLOSED', message: /env ended with exit code \d$/ }]);
  const { msg } = await log.line(/^no channel/);
  t.match(msg, /env ended with exit code \d; connecting again/, 'it was up: there is nothing to be tried');

  await Peer.listen(t, { kind: 'unix', path });
  await owner.signal.until(() => owner.ups === 2);
  await keeper.stop(STOPPED, 60_000);
  t.match(owner.downs[1], STOPPED);
});

for (const [what, script, reason] of [
  ['exits at once', 'exit 3', 'sh ended with exit code 3 after 0 bytes, before its handshake was complete'],
  [
    'is refused',
    'echo Permission denied >&2; exit 255',
    'sh ended with exit code 255 \\("Permission denied"\\) after 0 bytes, before',
  ],
  ['prints a banner', 'echo Welcome; cat', 'multiplexer protocol; it began with "Welcome\\\\x0a'],
  ['asks for a password', 'printf Password:; cat', 'it began with "Password:'],
] as const)
  t.test(`a command that ${what} gets a sentence, and the advice to try it`, async (t) => {
    const address = parseAddress(`exec:sh -c '${script}'`);
    const { keeper, log } = makeKeeper(t, 'connect', { address });
    await keeper.start();
    const { msg, level } = await log.line(/^no channel/);
    t.match(msg, new RegExp(reason));
    t.ok(msg.includes(TRY_IT), msg);
    t.equal(level, WARN);
    t.match(keeper.state.lastError, new RegExp(reason));
  });

t.test('a command that is not found is looked for again', async (t) => {
  const { keeper, log } = makeKeeper(t, 'connect', { address: parseAddress('exec:no-such-program-here') });
  await keeper.start();
  t.match(await log.line(/^no channel/), { msg: /no such program on the PATH/, level: WARN });
  t.match(keeper.state.lastError, /^cannot run exec:no-such-program-here: ENOENT/);
  await log.line(/^no channel/, 2);
});

t.test('a stop ends a command that has not answered yet', async (t) => {
  const { keeper, log } = makeKeeper(t, 'connect', {
    address: parseAddress('exec:sh -c "echo $$ >&2; cat >/dev/null"'),
  });
  await keeper.start();
  const { msg } = await log.line(/^the channel's command says: \d+$/);
  const pid = Number(/\d+$/.exec(msg)?.[0]);
  await keeper.stop(STOPPED, 0);
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

t.test('a stop that comes while a command is ended waits for it, and starts no other', async (t) => {
  const { keeper, log } = makeKeeper(t, 'connect', {
    address: parseAddress(`exec:sh -c "echo $$ >&2; trap '' TERM; echo banner; while :; do sleep 1; done"`),
  });
  await keeper.start();
  const { msg } = await log.line(/^the channel's command says: \d+$/);
  await log.line(/^no channel: .*banner/);
  const pid = Number(/\d+$/.exec(msg)?.[0]);
  process.kill(pid, 0);
  await keeper.stop(STOPPED, 0);
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  t.equal(log.matching(/command says/).length, 1);
});

t.test('what a command says is logged, but not without end', async (t) => {
  const { logger, lines } = new LogRecorder();
  const log = new ChannelLog(logger);
  log.commandSaid('plain');
  log.commandSaid('{"level":30,"msg":"from the \\u001bguest"}');
  log.commandSaid('{"level":30}');
  log.commandSaid('{ no JSON');
  const values = (count: number): string => `{"msg":"short","more":[${Array(count).fill(0)}]}`;
  log.commandSaid(values(30));
  log.commandSaid(values(100));
  t.same(
    lines.map(({ level, msg }) => [level, msg]),
    [
      [INFO, "the channel's command says: plain"],
      [INFO, "the channel's command says: from the  guest"],
      [INFO, 'the channel\'s command says: {"level":30}'],
      [INFO, "the channel's command says: { no JSON"],
      [INFO, "the channel's command says: short"],
      [INFO, `the channel's command says: ${values(100)}`],
    ],
  );
  for (let line = 0; line < 10_000; line++) log.commandSaid(`line ${line}`);
  t.equal(lines.length, 30);
  log.flush();
  t.equal(lines.length, 31);
  t.match(lines[30], { msg: /line 9999 \(the last of 9976 more/ });
});

/** A keeper whose standard input and output are pipes, and the channel at their other ends. */
function overPipes(t: Test) {
  const [input, to] = makePipe();
  const [from, output] = makePipe();
  const log = openSync('/dev/null', 'w');
  t.teardown(() => closeSync(log));
  const standard: StandardDescriptors = { input, output, log };
  const far: StandardDescriptors = { input: from, output: to, log };
  return { kept: makeKeeper(t, 'connect', { address: { kind: 'stdio' }, standard }), far };
}

t.test('stdio: is over with its channel, in good order when the peer has said that it goes', async (t) => {
  const { kept, far } = overPipes(t);
  const { keeper, owner, log } = kept;
  await keeper.start();
  const peer = await Peer.over(t, await connectChannel({ kind: 'stdio' }, { standard: far }));
  await owner.signal.until(() => owner.ups === 1);
  // Both ends of the pipes are stdio: here, and this one is as an exec: is.
  peer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
  await owner.signal.until(() => owner.streams.length === 1);
  t.equal(owner.streams[0]?.id, 2 ** 32 - 1, 'the far end allocates as the one that connects');
  peer.multiplexer.goAway({ code: 'STOPPED', message: 'the host was told to stop' });
  await log.line(/^the peer takes no new streams/);
  peer.close();
  await keeper.over;
  t.match(await log.line(/^no channel/), { level: INFO, msg: /told to stop; this program ends$/ });
});

t.test('stdio: has failed when its channel ends otherwise', async (t) => {
  const { kept, far } = overPipes(t);
  const { keeper, owner, log } = kept;
  await keeper.start();
  const peer = await Peer.over(t, await connectChannel({ kind: 'stdio' }, { standard: far }));
  await owner.signal.until(() => owner.ups === 1);
  peer.close();
  await t.rejects(keeper.over, {
    name: 'OperationError',
    message: 'the channel over stdio: ended: the peer closed the channel',
  });
  t.match(await log.line(/^no channel/), { level: WARN, msg: /this program ends$/ });
});

t.test('stdio: has failed when nobody is at its other end', async (t) => {
  const { kept, far } = overPipes(t);
  const { keeper } = kept;
  await keeper.start();
  closeSync(far.output);
  closeSync(far.input);
  await t.rejects(keeper.over, { message: /after 0 bytes, before its handshake was complete/ });
});

t.test('stdio: that is no channel is refused at the start', async (t) => {
  const log = openSync('/dev/null', 'r+');
  t.teardown(() => closeSync(log));
  const { keeper } = makeKeeper(t, 'connect', {
    address: { kind: 'stdio' },
    standard: { input: log, output: log, log },
  });
  await t.rejects(keeper.start(), { name: 'UsageError' });
});

t.test('neither is to be listened on', async (t) => {
  const { keeper } = makeKeeper(t, 'listen', { address: { kind: 'stdio' } });
  await t.rejects(keeper.start(), { name: 'UsageError', message: /^cannot listen on "stdio:"/ });
  const other = makeKeeper(t, 'listen', { address: parseAddress('exec:true') });
  await t.rejects(other.keeper.start(), { name: 'UsageError', message: /^cannot listen on "exec:true"/ });
});
