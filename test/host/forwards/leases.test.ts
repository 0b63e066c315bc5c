import { existsSync, statSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { RETRIES_AT_ONCE } from '../../../host/forwards/attempts.js';
import { STATIC } from '../../../host/forwards/claim.js';
import { Lease } from '../../../host/forwards/lease.js';
import { type Look, PortGuard } from '../../../host/listen/port-guard.js';
import { PortOwners } from '../../../host/listen/port-owners.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import { chooseFreePorts, freePort } from '../../fixtures/free-ports.js';
import { LeaseHost, port, takenPort } from '../../fixtures/leases.js';
import { INFO, WARN } from '../../fixtures/log-recorder.js';

function open(host: LeaseHost): Lease {
  const lease = host.leases.open();
  if (!lease) throw new Error('no lease');
  return lease;
}

/** Whoever asks these waits for the name, however slow the machine is. */
const patient = () => new PortOwners(undefined, 60_000);

const request = (...forwards: VpnkitPort[]) => ({ publisher: 'docker', forwards });

t.test('a lease has the forwards that it is set to, and no others', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const [one = 0, two = 0, three = 0] = await chooseFreePorts(3);
  t.same(await lease.set(request(port(one), port(two))), {
    forwards: [{ state: 'listening' }, { state: 'listening' }],
  });
  t.match(host.forwards.list(), [
    { id: `tcp 127.0.0.1:${one}`, origin: 'published', publisher: 'docker' },
    { id: `tcp 127.0.0.1:${two}`, origin: 'published', publisher: 'docker' },
  ]);
  const [, kept] = host.forwards.list();
  t.same(await lease.set(request(port(three), port(two), port(two))), {
    forwards: [{ state: 'listening' }, { state: 'listening' }, { state: 'listening' }],
  });
  t.same(
    host.forwards.list().map(({ id }) => id),
    [two, three].map((each) => `tcp 127.0.0.1:${each}`),
  );
  t.equal(host.forwards.list()[0], kept, 'what stays is not touched');
  t.same(lease.list(), [port(three), port(two)]);
  // The same host's end for another destination.
  await lease.set(request(port(three, 81)));
  t.same(lease.list(), [port(three, 81)]);
  await lease.end();
  await lease.end();
  t.same(host.forwards.list(), []);
  await t.rejects(lease.set(request()), { message: 'this lease has ended' });
  await t.rejects(lease.expose(port(one)), { message: 'this lease has ended' });
});

t.test('a forward that stays is annotated anew', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const one = await freePort();
  await lease.set(request({ ...port(one), annotation: 'container old' }));
  const [forward] = host.forwards.list();
  const note = { annotation: 'container new', container: 'new', container_id: '1a2b3c4d5e6f' };
  await lease.set(request({ ...port(one), ...note }));
  t.same(lease.list(), [{ ...port(one), ...note }]);
  await lease.set(request(port(one)));
  t.same(lease.list(), [port(one)]);
  t.equal(host.forwards.list()[0], forward, 'and is not touched');
});

t.test('free ports', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const report = await lease.set(request(port(0)));
  const chosen = report.forwards[0]?.out_port ?? 0;
  t.same(lease.list(), [port(chosen)]);
  t.same(await lease.set(request(port(0))), report, 'it stays the same');
  const other = await lease.expose(port(0));
  const third = await lease.expose(port(0));
  t.equal(new Set([chosen, other.out_port, third.out_port]).size, 3);
  const [, forward] = host.forwards.list();
  await lease.set(request(port(0), other));
  t.equal(host.forwards.list()[1], forward, 'the chosen port names it from now on');
  t.equal(host.forwards.list().length, 2);
});

t.test('sockets, in a folder that is made for them', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const pipe = { proto: 'unix', out_path: `${host.folder}/a.sock`, in_path: '/b' } as const;
  t.same(await lease.expose(pipe), pipe);
  t.equal(statSync(host.folder).mode & 0o777, 0o700);
  t.same(await lease.set(request(pipe)), { forwards: [{ state: 'listening' }] });
  await lease.unexpose(pipe);
  t.notOk(existsSync(pipe.out_path));
});

t.test('expose and unexpose, strictly', async (t) => {
  const host = new LeaseHost(t, { allow: ['127.0.0.1'], owners: patient() });
  const lease = open(host);
  const taken = await takenPort(t);
  await t.rejects(lease.expose(port(taken.port)), {
    name: 'OperationError',
    code: 'EADDRINUSE',
    message: new RegExp(`in use .*pid ${process.pid}`),
  });
  t.same(host.forwards.missing(), [], 'nothing is kept');
  t.equal(lease.size, 0);
  await t.rejects(lease.expose({ proto: 'tcp', in_port: 80 }), { name: 'PolicyError', code: 'EACCES' });
  await t.rejects(lease.expose({ proto: 'tcp' }), { name: 'UsageError' });
  await t.rejects(lease.expose(undefined), { name: 'UsageError' });
  await taken.free();
  t.same(await lease.expose(port(taken.port)), port(taken.port));
  t.same(await lease.expose(port(taken.port)), port(taken.port), 'once more changes nothing');
  await lease.unexpose({ ...port(taken.port), in_port: 81 });
  t.equal(lease.list().length, 1);
  await lease.unexpose({ proto: 'tcp', out_ip: '127.0.0.1', out_port: taken.port });
  t.same(host.forwards.list(), []);
  t.equal(host.log.matching(/tried again/).length, 0);
});

t.test(
  'what is asked for, removed and asked for anew in one go is one forward, which goes with its lease',
  async (t) => {
    const host = new LeaseHost(t, { allow: ['127.0.0.1'] });
    const lease = open(host);
    const free = await freePort();
    const first = lease.expose(port(free));
    const removed = lease.unexpose(port(free));
    const second = lease.expose(port(free));
    await t.rejects(first, { message: 'it was removed meanwhile' });
    await removed;
    t.same(await second, port(free));
    t.equal(lease.size, 1);
    await lease.end();
    t.same(host.forwards.list(), []);
  },
);

t.test('two that wait for one forward that cannot be had keep nothing', async (t) => {
  const host = new LeaseHost(t, { allow: ['127.0.0.1'] });
  const lease = open(host);
  const taken = await takenPort(t);
  const both = [lease.expose(port(taken.port)), lease.expose(port(taken.port))];
  await Promise.all(both.map((each) => t.rejects(each, { code: 'EADDRINUSE' })));
  t.equal(lease.size, 0);
  const alone = lease.expose(port(taken.port));
  const set = lease.set(request(port(taken.port)));
  await t.rejects(alone, { code: 'EADDRINUSE' });
  t.match(await set, { forwards: [{ state: 'failed' }] });
  t.equal(lease.size, 1, 'what is published stays wanted');
});

t.test('refusals do not fill the log', async (t) => {
  const host = new LeaseHost(t, { allow: ['127.0.0.1'] });
  const lease = open(host);
  const forbidden: VpnkitPort = { proto: 'tcp', out_ip: '0.0.0.0', out_port: 80, in_port: 80 };
  for (let round = 0; round < 150; round++) {
    await lease.set(request(forbidden));
    await lease.set(request());
  }
  t.equal(host.log.matching(/^refused to/).length, 20);
});

t.test('a lease can remove nothing that is not its own', async (t) => {
  const host = new LeaseHost(t);
  const [mine, other] = [open(host), open(host)];
  const [one = 0, two = 0] = await chooseFreePorts(2);
  await host.forwards.expose(parseSpec(`127.0.0.1:${one}:80`));
  await other.set(request(port(two)));
  await mine.unexpose(port(one));
  await mine.unexpose(port(two));
  await mine.set(request());
  t.equal(host.forwards.list().length, 2);
  t.same(mine.list(), []);
});

t.test('one forward for all who want it, until the last one lets go', async (t) => {
  const host = new LeaseHost(t);
  const [one, two] = [open(host), open(host)];
  const number = await freePort();
  await one.set(request(port(number)));
  const [forward] = host.forwards.list();
  await two.set({ publisher: 'kubernetes', forwards: [port(number)] });
  t.same(await host.forwards.expose(parseSpec(`127.0.0.1:${number}:80`)), [forward]);
  t.match(forward, { origin: 'runtime', publisher: 'docker' });
  await host.forwards.expose(parseSpec(`127.0.0.1:${number}:80`), STATIC);
  t.equal(forward?.origin, 'static');
  await one.end();
  t.equal(forward?.publisher, 'kubernetes');
  await two.end();
  t.same(host.forwards.list(), [forward]);

  const [third, fourth] = [open(host), open(host)];
  await Promise.all([third.set(request(port(0, 81))), fourth.end()]);
  const [, free] = host.forwards.list();
  t.equal(free?.origin, 'published');
  await third.end();
  t.same(host.forwards.list(), [forward]);
});

t.test('what cannot be had stays wanted, and comes when the port is free', async (t) => {
  const host = new LeaseHost(t, { retryMs: 5, owners: patient() });
  const lease = open(host);
  const taken = await takenPort(t);
  t.match(await lease.set(request(port(taken.port))), {
    forwards: [{ state: 'failed', code: 'EADDRINUSE', message: new RegExp(`pid ${process.pid}`) }],
  });
  t.match(host.forwards.missing(), [{ state: 'failed', holder: { publisher: 'docker' } }]);
  t.same(host.leases.report(), [{ publisher: 'docker', leases: 1, forwards: 1, missing: 1 }]);
  t.match(host.leases.describe(), /^lease of docker: 1 forwards\n {2}failed 127\.0\.0\.1:.*EADDRINUSE/);
  t.match(await host.log.line(/^not listening for docker: cannot listen on 127/), {
    level: WARN,
    errno: 'EADDRINUSE',
    publisher: 'docker',
    forward: `tcp 127.0.0.1:${taken.port}`,
  });
  await lease.set(request(port(taken.port)));
  await taken.free();
  await host.until((forwards) => forwards.length === 1);
  t.match(await host.log.line(/^listening on .*, for docker now$/), { level: INFO });
  t.equal(host.log.matching(/^not listening/).length, 1, 'said once');
  t.same(host.forwards.missing(), []);
});

t.test('of very many that cannot be had some are tried again at once, and all in turn', async (t) => {
  const looks: number[][] = [];
  /** Another program has every port, as on a system where that must be looked for. */
  class EveryPort extends PortGuard {
    override async look(rules: readonly ForwardRule[]): Promise<Look> {
      const ports = rules.flatMap((rule) => (rule.proto === 'unix' ? [] : [rule.hostPort]));
      if (ports.length > 0) looks.push(ports);
      const address = { proto: 'tcp', ip: '127.0.0.1', port: 1 } as const;
      return { heldBy: () => ({ address, owner: 'another program' }) };
    }
  }
  const bindRules = { wildcardOnlyBelow: 0, sharesPorts: true };
  const host = new LeaseHost(t, { retryMs: 1, bindRules, guard: new EveryPort() });
  const count = RETRIES_AT_ONCE + 10;
  const wanted = Array.from({ length: count }, (_, index) => index + 1);
  await open(host).set(request(...wanted.map((number) => port(number))));
  while (looks.length < 3) await new Promise(setImmediate);
  const [first = [], ...retries] = looks;
  t.same(first, wanted);
  for (const ports of retries) t.equal(ports.length, RETRIES_AT_ONCE);
  t.equal(new Set(retries.flat()).size, count);
});

t.test('what many could not have is there for all of them, whoever gets it first', async (t) => {
  const host = new LeaseHost(t, { retryMs: 5 });
  const taken = await takenPort(t);
  // More than are tried in one turn: the others find it being listened on.
  for (let count = 0; count < 40; count++) await open(host).set(request(port(taken.port)));
  await taken.free();
  await host.log.line(/^listening on .*, for docker now$/);
  t.match(await host.log.line(/^listening for docker now$/), { level: INFO });
  t.same(host.forwards.missing(), []);
});

t.test('what is given up while it is looked into who is in the way is forgotten', async (t) => {
  const host = new LeaseHost(t, { retryMs: 3_600_000 });
  const taken = await takenPort(t);
  for (let turns = 0; turns < 20; turns++) {
    const lease = open(host);
    const asked = lease.set(request(port(taken.port)));
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    await lease.end();
    await asked.catch(() => {});
  }
  t.same(host.forwards.missing(), []);
});

t.test('it comes at once when a forward of this host was in the way', async (t) => {
  const host = new LeaseHost(t, { retryMs: 3_600_000 });
  const [first, second] = [open(host), open(host)];
  const number = await freePort();
  await first.set(request(port(number, 81)));
  t.match(await second.set({ publisher: 'kubernetes', forwards: [port(number), port(number, 81)] }), {
    forwards: [{ state: 'failed', message: /by the forward 127/ }, { state: 'listening' }],
  });
  await second.unexpose(port(number, 81));
  await first.end();
  await host.until(([forward]) => forward?.publisher === 'kubernetes');
  t.same(second.list(), [port(number)]);
});

t.test('who has a port is looked for once for many, and not again for the same refusal', async (t) => {
  let searches = 0;
  const owners = new PortOwners(async (addresses) => {
    searches++;
    return addresses.map(() => 'nginx (pid 7)');
  });
  const host = new LeaseHost(t, { owners, retryMs: 1 });
  const taken = await takenPort(t);
  const lease = open(host);
  const forwards = Array.from({ length: 300 }, (_, index) => port(taken.port, index + 1));
  const { forwards: outcomes } = await lease.set(request(...forwards));
  t.equal(outcomes.filter(({ message }) => message?.includes('by nginx (pid 7)')).length, 300);
  t.equal(searches, 1);
  t.equal(host.log.matching(/^not listening for docker/).length, 20, 'the rest is summed up');
  // Each of 256 a time, several times.
  for (let round = 0; round < 50; round++) await new Promise(setImmediate);
  await lease.set(request(...forwards));
  t.equal(searches, 1);
  host.log.lines.length = 0;
  await host.forwards.close();
  t.match(host.log.lines, [{ msg: /^not listening .*\(the last of 280 more like it/ }]);
});

t.test('the user’s own commands do not wait for what guests ask', async (t) => {
  let answer: () => void = () => {};
  const owners = new PortOwners(
    (addresses) =>
      new Promise((resolve) => {
        answer = () => resolve(addresses.map(() => undefined));
      }),
  );
  const host = new LeaseHost(t, { owners });
  const holder = open(host);
  await holder.set(request(...Array.from({ length: 1000 }, (_, index) => port(0, index + 1))));
  const taken = await takenPort(t);
  let answered = 0;
  const asking = Array.from({ length: 400 }, () =>
    open(host)
      .expose(port(taken.port))
      .catch(() => answered++),
  );
  const setting = holder.set(request(...Array.from({ length: 2000 }, (_, index) => port(0, index + 2000))));
  const [forward] = await host.forwards.expose(parseSpec('127.0.0.1:0:80'));
  const own = parseSpecMatcher(`${forward?.rule.proto === 'tcp' && forward.rule.hostPort}`);
  t.match(await host.forwards.unexpose([own]), { removed: [forward] });
  t.equal(answered, 0, 'all of them still wait');
  t.ok(host.forwards.size < 3000, 'and so does the other lease');
  while (answered < 400) {
    answer();
    await new Promise(setImmediate);
  }
  await Promise.all([...asking, setting]);
  t.equal(host.forwards.size, 2000);
});

t.test('sockets that fail: with an errno, and without one', async (t) => {
  const host = new LeaseHost(t, { allow: ['unix:/*'], retryMs: 5 });
  const lease = open(host);
  const folder = t.testdir({ file: '' });
  const blocked = `${host.folder}/live.sock`;
  await open(host).set({ publisher: 'x', forwards: [{ proto: 'unix', out_path: blocked, in_path: '/a' }] });
  const pipes = [`${folder}/file/x/a`, blocked, `${folder}/file`].map(
    (path) => ({ proto: 'unix', out_path: path, in_path: '/b' }) as const,
  );
  t.match(await lease.set(request(...pipes)), {
    forwards: [
      { state: 'failed', code: 'ENOTDIR' },
      { state: 'failed', message: /the forward .* → unix \/a has it; unexpose that first/ },
      { state: 'failed', message: /there is a file/ },
    ],
  });
  await host.log.line(/^not listening/, 3);
  await lease.set(request(...pipes));
  t.equal(host.log.matching(/^not listening/).length, 3);
});

t.test('what the policy or the form does not allow is refused, and the rest goes on', async (t) => {
  const host = new LeaseHost(t, { allow: ['127.0.0.1'] });
  const lease = open(host);
  const number = await freePort();
  const refused = { ...port(number), out_ip: '0.0.0.0' };
  const body = {
    publisher: 'docker',
    forwards: [
      refused,
      port(number),
      { proto: 'x' },
      7,
      null,
      { ...port(number), annotation: 'x'.repeat(2000) },
      { ...port(number), annotation: 'a\u001b[31m' },
    ],
  };
  t.match(await lease.set(body), {
    forwards: [
      { state: 'refused', code: 'EACCES', message: /policy does not allow tcp 0\.0\.0\.0/ },
      { state: 'listening' },
      { state: 'refused', message: /"proto" must be/ },
      { state: 'refused', message: /must be one JSON object/ },
      { state: 'refused', message: /must be one JSON object/ },
      { state: 'refused', message: /a forward of 2\d\d\d bytes, at most 1024/ },
      { state: 'refused', message: /control characters/ },
    ],
  });
  await lease.set(body);
  t.equal(host.log.matching(/^refused to docker: /).length, 1);
  t.match(host.forwards.missing(), [{ state: 'refused', reason: { code: 'EACCES' } }]);
  for (const wrong of [
    undefined,
    null,
    [],
    'x',
    {},
    { publisher: 'docker' },
    { forwards: [] },
    { publisher: '', forwards: [] },
    { publisher: 'x\n', forwards: [] },
    { publisher: 'x'.repeat(65), forwards: [] },
  ])
    await t.rejects(lease.set(wrong), { name: 'UsageError' }, JSON.stringify(wrong));
  t.equal(lease.list().length, 1, 'a bad request changes nothing');
});

t.test('a guest can want only so much, and people see what it does not get', async (t) => {
  const host = new LeaseHost(t, { maxForwards: 3, maxLeases: 2 });
  const [one, two] = [open(host), open(host)];
  t.equal(host.leases.open(), undefined);
  await one.set(request(port(0, 1), port(0, 2)));
  const full =
    'the host takes at most 3 forwards from one guest, a third of the files that it may open: raise that limit (ulimit -n) and start it again';
  const [here, there] = [port(0, 3), port(1234, 4)];
  t.same(await two.set({ publisher: 'kubernetes', forwards: [here, there] }), {
    forwards: [
      { state: 'listening', out_port: two.list()[0]?.out_port },
      { state: 'refused', code: 'EMFILE', message: full },
    ],
  });
  t.match(host.forwards.missing(), [
    {
      asked: { hostPort: 1234 },
      state: 'refused',
      holder: { publisher: 'kubernetes' },
      reason: { code: 'EMFILE', message: `${full}; 1 forward of kubernetes would be too many` },
    },
  ]);
  t.equal(host.log.matching(/^refused to kubernetes: the host takes at most 3 /).length, 1);
  t.match(host.leases.describe(), /\nlease of kubernetes: 1 forwards\n {2}refused 127\.0\.0\.1:1234:/);
  await t.rejects(two.expose(port(0, 5)), { name: 'OperationError', message: full, code: 'EMFILE' });
  await t.rejects(two.set({ publisher: 'x', forwards: Array.from({ length: 20_000 }, () => 0) }), {
    name: 'UsageError',
    message: '20000 forwards, at most 16384 are taken',
  });
  t.match(await one.set(request(port(0, 1), port(0, 6))), {
    forwards: [{ state: 'listening' }, { state: 'listening' }],
  });

  t.match(await host.forwards.unexpose([parseSpecMatcher('1234')]), { removed: [{ state: 'refused' }] });
  t.same(host.forwards.missing(), []);
  await two.set(request(here, there));
  t.equal(host.forwards.missing().length, 1, 'published anew, it is listed again');
  await two.unexpose(there);
  t.same(host.forwards.missing(), []);

  await two.set(request(...Array.from({ length: 500 }, (_, index) => port(1000 + index))));
  t.equal(host.forwards.missing().length, 256, 'a guest is not to fill the memory');
  t.match(host.forwards.missing()[0]?.reason.message, /; 499 forwards of docker would be too many$/);
  await two.set(request(...Array.from({ length: 500 }, (_, index) => port(2000 + index))));
  t.equal(host.forwards.missing().length, 256);
  await one.end();
  t.ok(host.leases.open());
  await two.set(request(port(0, 7), port(0, 8), port(0, 9)));
  t.same(host.forwards.missing(), []);
});

t.test('a limit that cannot be raised', async (t) => {
  const host = new LeaseHost(t, { maxForwards: 16_384 });
  t.match(
    host.leases.full.message,
    /at most 16384 forwards from one guest, which cannot be raised: publish fewer$/,
  );
});

t.test('what the user removes stays away until it is published anew', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const taken = await takenPort(t);
  const { forwards } = await lease.set(request(port(0), port(taken.port)));
  const chosen = forwards[0]?.out_port ?? 0;
  const unexpose = async (number: number) =>
    (await host.forwards.unexpose([parseSpecMatcher(`127.0.0.1:${number}`)])).removed;
  t.match(await unexpose(chosen), [{ id: `tcp 127.0.0.1:${chosen}` }]);
  t.match(await unexpose(taken.port), [{ state: 'refused' }]);
  t.same(await unexpose(taken.port), []);
  t.same([host.forwards.list(), host.forwards.missing()], [[], []]);
  await taken.free();
  t.match(await lease.set(request(port(0), port(taken.port))), {
    forwards: [
      { state: 'refused', code: 'ECANCELED', message: /removed on the host/ },
      { state: 'refused', code: 'ECANCELED' },
    ],
  });
  t.same(await lease.expose(port(taken.port)), port(taken.port), 'asked for by itself, it is back');
  await lease.set(request());
  t.match(await lease.set(request(port(taken.port))), { forwards: [{ state: 'listening' }] });
});

t.test('a lease keeps what it had, also when it asks again and it cannot be had', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const one = await freePort();
  const unexpose = (spec: string) => host.forwards.unexpose([parseSpecMatcher(spec)]);
  await lease.expose(port(one));
  await unexpose(`127.0.0.1:${one}`);
  await host.forwards.expose(parseSpec(`127.0.0.1:${one}:81`));
  await t.rejects(lease.expose(port(one)), { code: 'EADDRINUSE' });
  t.match(lease.claims, [{ state: 'failed' }]);
  await unexpose(`127.0.0.1:${one}:127.0.0.1:81`);
  await host.until(() => lease.list().length === 1);
});

t.test('the user removes a port while it is being chosen', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const setting = lease.set(request(port(0)));
  const removing = host.forwards.unexpose([parseSpecMatcher('1-65535')]);
  t.match(await setting, { forwards: [{ state: 'listening' }] });
  t.equal((await removing).removed.length, 1);
  t.match(await lease.set(request(port(0))), { forwards: [{ state: 'refused' }] });
});

t.test('a lease that ends while its forwards are being bound leaves none', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const setting = lease.set(request(...Array.from({ length: 100 }, (_, index) => port(0, index + 1))));
  const exposing = t.rejects(lease.expose(port(0)));
  await lease.end();
  await Promise.all([setting, exposing]);
  t.same(host.forwards.list(), []);
  t.same(host.forwards.missing(), []);
});

t.test('a lease that ends in the very moment in which its port is chosen', async (t) => {
  const host = new LeaseHost(t);
  const [forward] = await host.forwards.expose(parseSpec('127.0.0.1:0:80'));
  const lease: Lease = new Lease({
    ...{ policy: host.leases.policy, used: 0, maxForwards: 1, listed: 0, maxListed: 0 },
    full: { message: '', code: undefined },
    logRefusal: () => t.fail('nothing is refused'),
    ended: () => {},
    find: () => [],
    annotate: () => {},
    claim: async ([claim]) => {
      if (!claim || !forward) return;
      claim.granted(forward);
      await lease.end();
    },
  });
  t.match(await lease.expose(port(0)), { out_port: Number });
  t.equal(lease.size, 0);
});

t.test('a lease that ends while its forward is being bound', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const number = await freePort();
  const setting = lease.set(request(port(number)));
  const ending = lease.end();
  t.match(await setting, { forwards: [{ state: 'failed', message: 'it was removed meanwhile' }] });
  await ending;
  t.same([host.forwards.list(), host.forwards.missing()], [[], []]);
  await host.forwards.expose(parseSpec(`127.0.0.1:${number}:80`));
});

t.test('a host that stops', async (t) => {
  const host = new LeaseHost(t, { retryMs: 1 });
  const lease = open(host);
  const taken = await takenPort(t);
  await lease.set(request(port(taken.port)));
  host.leases.close();
  await host.forwards.close();
  t.match(await lease.set(request(port(0))), {
    forwards: [{ state: 'failed', message: 'the host is stopping' }],
  });
  await lease.end();
});

t.test('a thousand forwards come and go in two requests', async (t) => {
  const host = new LeaseHost(t);
  const lease = open(host);
  const { forwards } = await lease.set(
    request(...Array.from({ length: 1000 }, (_, index) => port(0, index + 1))),
  );
  t.equal(forwards.filter(({ state }) => state === 'listening').length, 1000);
  t.equal(host.forwards.list().length, 1000);
  await lease.set(request());
  t.same(host.forwards.list(), []);
});

t.test('whatever leases ask for, a forward is there exactly while somebody wants it', async (t) => {
  const ports = await chooseFreePorts(3);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          who: fc.nat(2),
          what: fc.constantFrom('set', 'expose', 'unexpose', 'end', 'remove'),
          wanted: fc.subarray(ports),
        }),
        { maxLength: 20 },
      ),
      async (steps) => {
        const host = new LeaseHost(t);
        const leases = [open(host), open(host), open(host)];
        const model = leases.map(() => new Map<number, 'held' | 'removed'>());
        const pending: Promise<unknown>[] = [];
        try {
          for (const { who, what, wanted } of steps) {
            const lease = leases[who];
            const held = model[who];
            const [first = ports[0] ?? 0] = wanted;
            if (!lease || !held) throw new Error('no such lease');
            if (what === 'set') {
              pending.push(lease.set(request(...wanted.map((each) => port(each)))));
              for (const each of ports)
                if (!wanted.includes(each)) held.delete(each);
                else if (!held.has(each)) held.set(each, 'held');
            } else if (what === 'expose') {
              // Given up at once by what comes next, it fails.
              pending.push(lease.expose(port(first)).catch(() => undefined));
              held.set(first, 'held');
            } else if (what === 'unexpose') {
              pending.push(lease.unexpose(port(first)));
              held.delete(first);
            } else if (what === 'end') {
              pending.push(lease.end());
              held.clear();
              leases[who] = open(host);
            } else {
              // The user's own removal is not said while others are under way: its order would not be the model's.
              await Promise.all(pending);
              await host.forwards.unexpose([parseSpecMatcher(`127.0.0.1:${first}`)]);
              for (const each of model) if (each.has(first)) each.set(first, 'removed');
            }
          }
          await Promise.all(pending);
          const listed = host.forwards.list().map(({ id }) => id);
          const expected = ports.filter((each) => model.some((held) => held.get(each) === 'held'));
          return (
            listed.sort().join() ===
            expected
              .map((each) => `tcp 127.0.0.1:${each}`)
              .sort()
              .join()
          );
        } finally {
          host.leases.close();
          await host.forwards.close();
        }
      },
    ),
    { numRuns: 60, seed: 5 },
  );
});
