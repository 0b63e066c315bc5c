import { text } from 'node:stream/consumers';
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import { HostControl } from '../../../guest/publish/host-control.js';
import type { LeaseTimes } from '../../../guest/publish/lease-link.js';
import { LEASE_RESOURCE, type VpnkitPort } from '../../../protocol/services/control.js';
import type { Stream } from '../../../protocol/stream.js';
import { encodeGoAway } from '../../../protocol/wire/extension.js';
import { chooseFreePorts, freePort } from '../../fixtures/free-ports.js';
import { LeaseHost, port, takenPort } from '../../fixtures/leases.js';
import { INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { type End, everything, Solo } from '../../protocol/fixtures/recording.js';
import { serving } from './fixtures/serving.js';

/** A guest that publishes, and a host that it reaches by up(). */
class Guest {
  readonly log = new LogRecorder();
  readonly control: HostControl;
  #end: End | undefined;
  #hostEnd: End | undefined;
  readonly #host: LeaseHost;

  constructor(t: Test, host: LeaseHost, times: Partial<LeaseTimes> = {}) {
    this.#host = host;
    this.control = new HostControl(this.log.logger, {
      channelWaitMs: 60_000,
      answerTimeoutMs: 60_000,
      retryMs: 2,
      ...times,
    });
    t.teardown(() => this.control.close());
  }

  /** @param accept in the host's place */
  up(accept?: (stream: Stream) => void): End {
    const { guest, b } = this.#host.channel();
    if (accept) b.owner.accept = accept;
    this.#end = guest;
    this.#hostEnd = b;
    this.control.onUp(guest.multiplexer);
    return guest;
  }

  /** From now on nothing that the host answers comes, until the function is called that this returns. */
  holdAnswers(): () => void {
    const { link } = this.#hostEnd as End;
    link.stalled = true;
    return () => {
      link.stalled = false;
    };
  }

  down(): void {
    this.#end?.link.cut();
    this.control.onDown();
  }
}

async function start(t: Test, times?: Partial<LeaseTimes>): Promise<{ host: LeaseHost; guest: Guest }> {
  const host = await LeaseHost.start(t, { allow: ['127.0.0.1', 'unix:/tmp/*'], retryMs: 5 });
  return { host, guest: new Guest(t, host, times) };
}

const idsOf = (host: LeaseHost): string[] =>
  host.forwards
    .list()
    .map(({ id }) => id)
    .sort();
const idOf = ({ out_port: hostPort }: VpnkitPort): string => `tcp 127.0.0.1:${hostPort}`;

async function untilListening(host: LeaseHost, ...ports: VpnkitPort[]): Promise<void> {
  const expected = ports.map(idOf).sort().join();
  await host.until(() => idsOf(host).join() === expected);
}

t.test('what is published before there is a channel, and while there is none, comes with it', async (t) => {
  const { host, guest } = await start(t);
  const [one = 0, two = 0, three = 0] = await chooseFreePorts(3);
  const lease = guest.control.openLease('docker');
  lease.publish([port(one)]);
  guest.up();
  await untilListening(host, port(one));
  t.equal(host.forwards.list()[0]?.publisher, 'docker');
  lease.publish([port(one), port(two)]);
  await untilListening(host, port(one), port(two));
  guest.down();
  await untilListening(host);
  lease.publish([port(two), port(three)]);
  guest.up();
  await untilListening(host, port(two), port(three));
  t.same(await lease.list(), [port(two), port(three)]);
  lease.close();
  lease.close();
  await untilListening(host);
  t.same(guest.log.lines, []);
});

t.test('only the newest state is sent', async (t) => {
  const { host, guest } = await start(t);
  const ports = await chooseFreePorts(20);
  guest.up();
  const lease = guest.control.openLease('docker');
  for (const [index] of ports.entries()) lease.publish(ports.slice(0, index + 1).map((each) => port(each)));
  lease.publish(ports.slice(10).map((each) => port(each)));
  await untilListening(host, ...ports.slice(10).map((each) => port(each)));
  t.equal(host.log.matching(/^listening on/).length, 10, 'none of those that came and went');
});

t.test('expose: the port that was chosen, kept over the loss of the channel', async (t) => {
  const { host, guest } = await start(t);
  guest.up();
  const lease = guest.control.openLease('api');
  const exposed = await lease.expose({ ...port(0), out_ip: '127.0.0.1' });
  t.match(exposed, { ...port(0), out_port: Number });
  t.same(await lease.expose(exposed), exposed);
  lease.publish([port(0, 81)]);
  await host.until((forwards) => forwards.length === 2);
  guest.down();
  await untilListening(host);
  guest.up();
  await host.until((forwards) => forwards.some(({ id }) => id === idOf(exposed)));
  await lease.unexpose({ ...exposed, in_port: 82 });
  await host.until((forwards) => forwards.length === 2);
  await lease.unexpose(exposed);
  t.notOk(idsOf(host).includes(idOf(exposed)));
  const pipe = { proto: 'unix', out_path: `${host.folder}/a.sock`, in_path: '/b' } as const;
  t.same(await lease.expose(pipe), pipe);
  await lease.unexpose({ ...pipe, in_path: '/c' });
  t.equal(host.forwards.list().length, 2);
  await lease.unexpose({ proto: 'unix', out_path: pipe.out_path });
  t.equal(host.forwards.list().length, 1);
});

t.test('what is exposed is found by whichever way its addresses are written', async (t) => {
  const host = await LeaseHost.start(t);
  const guest = new Guest(t, host);
  guest.up();
  const lease = guest.control.openLease('api');
  const { out_port: chosen = 0 } = await lease.expose({
    proto: 'tcp',
    out_ip: '::ffff:127.0.0.1',
    in_port: 80,
  });
  await lease.unexpose({
    proto: 'tcp',
    out_ip: '127.0.0.1',
    out_port: chosen,
    in_ip: '::ffff:7f00:1',
    in_port: 80,
  });
  t.same(host.forwards.list(), []);
  guest.down();
  guest.up();
  const every = await lease.expose({ proto: 'tcp', in_port: 80 });
  t.match(host.forwards.list(), [{ id: `tcp *:${every.out_port}` }]);
  await lease.unexpose({ proto: 'tcp', out_port: Number(every.out_port), in_port: 80 });
  guest.down();
  guest.up();
  t.same(await lease.list(), [], 'it does not come back');
});

t.test('what the host refuses', async (t) => {
  const { host, guest } = await start(t);
  const taken = await takenPort(t);
  guest.up();
  const lease = guest.control.openLease('api');
  await t.rejects(lease.expose(port(taken.port)), {
    name: 'ExposeError',
    status: 400,
    message: /in use .*pid/,
  });
  await t.rejects(lease.expose({ proto: 'tcp', in_port: 80 }), {
    status: 403,
    message: /policy does not allow/,
  });
  await t.rejects(lease.unexpose({ proto: 'tcp', out_ip: 'x' }), {
    status: 400,
    message: /"out_ip" must be/,
  });
  const sip = { ...port(0), annotation: 'x'.repeat(20_000) };
  await t.rejects(lease.expose(sip), { name: 'ExposeError', status: 413 });
  t.same(host.forwards.missing(), []);
});

t.test('outcomes are logged when they change', async (t) => {
  const { host, guest } = await start(t);
  const taken = await takenPort(t);
  const lease = guest.control.openLease('docker');
  const forwards: VpnkitPort[] = [
    port(taken.port),
    { proto: 'tcp', in_port: 80 },
    { proto: 'tcp', out_ip: '::2', out_port: 8080, in_port: 80 },
    { proto: 'unix', out_path: '/etc/x', in_path: '/y' },
  ];
  guest.up();
  lease.publish(forwards);
  const line = await guest.log.line(/^the host does not listen \(failed\): cannot listen on 127/);
  t.match(line, {
    level: WARN,
    publisher: 'docker',
    forward: `tcp 127.0.0.1:${taken.port}`,
    errno: 'EADDRINUSE',
  });
  await guest.log.line(/^the host does not listen \(refused\): the host's policy does not allow/, 3);
  t.same(
    guest.log.matching(/refused/).map(({ forward }) => forward),
    ['tcp *:0', 'tcp [::2]:8080', 'unix /etc/x'],
  );
  lease.publish(forwards);
  await taken.free();
  await host.until((listed) => listed.length === 1);
  lease.publish(forwards);
  t.match(await guest.log.line(/^the host listens now/), { level: INFO });
  t.equal(guest.log.matching(/does not listen/).length, 4);
});

t.test('what is exposed without an address and removed by 0.0.0.0 has gone from both ends', async (t) => {
  const host = await LeaseHost.start(t);
  const guest = new Guest(t, host);
  guest.up();
  const lease = guest.control.openLease('api');
  const [one = 0, two = 0] = await chooseFreePorts(2);
  const without = await lease.expose({ proto: 'tcp', out_port: one, in_port: 80 });
  const every = await lease.expose({ proto: 'tcp', out_ip: '0.0.0.0', out_port: two, in_port: 80 });
  t.equal(host.forwards.size, 2);
  await lease.unexpose({ ...without, out_ip: '0.0.0.0' });
  const { out_ip: _, ...named } = every;
  await lease.unexpose(named);
  t.equal(host.forwards.size, 0);
  guest.down();
  guest.up();
  t.same(await lease.list(), [], 'nor does anything come back');
  t.equal(host.forwards.size, 0);
});

t.test('a lease too many has its own reason', async (t) => {
  const host = await LeaseHost.start(t, { maxLeases: 1 });
  const guest = new Guest(t, host, { channelWaitMs: 100 });
  guest.up();
  await guest.control.openLease('a').expose(port(0));
  await t.rejects(guest.control.openLease('b').expose(port(0)), {
    status: 503,
    message:
      /the host (gives no lease|has granted nothing for 0.1 s): the host has 1 leases, which are as many/,
  });
});

t.test('without a channel, asking fails after a while', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 5 });
  const lease = guest.control.openLease('api');
  await t.rejects(lease.expose(port(0)), {
    status: 503,
    message: /no channel to the host for 0.005 s: start or check/,
  });
  t.same(await lease.list(), []);
  await lease.unexpose(port(1));
});

t.test('asking waits for the channel, and over its loss', async (t) => {
  const { host, guest } = await start(t);
  const lease = guest.control.openLease('api');
  const waiting = lease.expose(port(0));
  let asked = false;
  guest.up(
    serving(() => {
      asked = true;
    }),
  );
  while (!asked) await new Promise(setImmediate);
  guest.down();
  guest.up();
  t.match(await waiting, { out_port: Number });
  t.equal(host.forwards.list().length, 1);
});

t.test('asking ends when the channel that was lost does not come back', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 500 });
  const waiting = guest.control.openLease('api').expose(port(0));
  const asked = new Promise<void>((resolve) => guest.up(serving(() => resolve())));
  const refused = t.rejects(waiting, {
    status: 503,
    message: 'the channel to the host was lost, and was not back in time: start or check portferry host',
  });
  await asked;
  guest.down();
  await refused;
});

t.test('a lease that is given up while somebody waits for it', async (t) => {
  const { guest } = await start(t);
  const [one, two] = [guest.control.openLease('a'), guest.control.openLease('b')];
  const outcomes = [one, two].map((lease) =>
    t.rejects(lease.expose(port(0)), {
      name: 'ExposeError',
      status: 503,
      message: 'the forward is not wanted any more',
    }),
  );
  one.close();
  guest.control.close();
  await Promise.all(outcomes);
  const late = guest.control.openLease('c');
  late.publish([port(0)]);
  await t.rejects(late.expose(port(0)), { name: 'ExposeError', status: 503 });
});

t.test('a host that is no portferry: one warning, and errors that say so', async (t) => {
  const { guest } = await start(t);
  const lease = guest.control.openLease('docker');
  const waiting = t.rejects(lease.expose(port(0)), {
    status: 503,
    message: /the host is no portferry, but vpnkit/,
  });
  const plain = new Solo('plain');
  guest.control.onUp(plain.multiplexer);
  await waiting;
  lease.publish([port(0)]);
  guest.control.onDown();
  guest.control.onUp(plain.multiplexer);
  t.match(guest.log.lines, [
    { level: WARN, msg: /^what the guest publishes is not forwarded: the host is no portferry/ },
  ]);
  t.equal(guest.log.lines.length, 1);
  t.same(plain.sent, [], 'nothing that a plain host would not know');
});

t.test('a host that refuses the service: one warning, and errors that say so', async (t) => {
  const { guest } = await start(t);
  const lease = guest.control.openLease('docker');
  const refuse = (stream: Stream): void =>
    stream.refuse('service', { code: 'EACCES', message: 'the host has nothing that the guest may dial' });
  guest.up(refuse);
  await t.rejects(lease.expose(port(0)), {
    status: 503,
    message: 'the host takes no forwards from the guest: the host has nothing that the guest may dial',
  });
  guest.down();
  guest.up(refuse);
  await t.rejects(lease.expose(port(0)), { name: 'ExposeError', status: 503 });
  t.equal(guest.log.lines.length, 1);
  guest.down();
  guest.up();
  t.match(await lease.expose(port(0)), { out_port: Number });
});

t.test('what nobody waits for any more is not exposed', async (t) => {
  const { host, guest } = await start(t);
  const lease = guest.control.openLease('api');
  const unwanted = { status: 503, message: 'the forward is not wanted any more' };
  await t.rejects(lease.expose(port(0), AbortSignal.abort()), unwanted);
  const gone = new AbortController();
  const waiting = lease.expose(port(0), gone.signal);
  gone.abort();
  await t.rejects(waiting, unwanted);

  const one = await freePort();
  const removed = lease.expose(port(one));
  await lease.unexpose(port(one));
  await t.rejects(removed, unwanted);

  const late = new AbortController();
  guest.up();
  t.same(await lease.list(), []);
  const answer = guest.holdAnswers();
  const exposed = lease.expose(port(one), late.signal);
  await host.until(() => host.forwards.list().length === 1);
  late.abort();
  answer();
  await t.rejects(exposed, unwanted);
  await host.until(() => host.forwards.list().length === 0);
  t.same(await lease.list(), []);
});

t.test('what is removed while it is asked for, and asked for again at once, is had', async (t) => {
  const { host, guest } = await start(t);
  guest.up();
  const lease = guest.control.openLease('api');
  const [zero = 0, one = 0, two = 0] = await chooseFreePorts(3);
  await lease.unexpose(await lease.expose(port(zero)));
  const answer = guest.holdAnswers();
  const first = lease.expose(port(one));
  const gone = new AbortController();
  const waiting = lease.expose(port(two), gone.signal);
  gone.abort();
  await host.until(() => host.forwards.list().length === 1);
  const removed = lease.unexpose(port(one));
  const again = lease.expose(port(one));
  answer();
  const unwanted = { status: 503, message: 'the forward is not wanted any more' };
  await t.rejects(first, unwanted);
  await t.rejects(waiting, unwanted, 'and what is given up before its turn is not asked for');
  await removed;
  t.same(await again, port(one));
  t.same(await lease.list(), [port(one)]);
  t.same(idsOf(host), [idOf(port(one))]);
});

t.test('who gives up what the lease had before takes it from nobody', async (t) => {
  const { guest } = await start(t);
  const gone = new AbortController();
  const asked: string[] = [];
  guest.up(
    serving((request, response) => {
      if (request.url === '/v1/lease') response.end('{"forwards":[]}');
      else {
        asked.push(String(request.method));
        if (asked.length === 2) gone.abort();
        response.end(JSON.stringify(port(8080)));
      }
    }),
  );
  const lease = guest.control.openLease('api');
  t.same(await lease.expose(port(8080)), port(8080));
  await t.rejects(lease.expose(port(8080), gone.signal), { message: 'the forward is not wanted any more' });
  t.same(asked, ['PUT', 'PUT']);
});

t.test('what the host cannot remove at present is left out of the whole state that it is told', async (t) => {
  const { guest } = await start(t);
  const gone = new AbortController();
  const listening = new Set<string>();
  let removals = 0;
  guest.up(
    serving(async (request, response) => {
      const body = JSON.parse((await text(request)) || '{}');
      if (request.url === LEASE_RESOURCE) {
        listening.clear();
        for (const forward of body.forwards) listening.add(idOf(forward));
        response.end(JSON.stringify({ forwards: body.forwards.map(() => ({ state: 'listening' })) }));
      } else if (request.method === 'DELETE') {
        removals++;
        response.writeHead(503).end('{"message":"the host has too many requests at once: ask again"}');
      } else {
        listening.add(idOf(body));
        if (body.out_port === 8081) gone.abort();
        // It has done it, and cannot say so.
        if (body.out_port === 8082) response.writeHead(503).end('{"message":"ask again"}');
        else response.end(JSON.stringify(body));
      }
    }),
  );
  const lease = guest.control.openLease('api');
  await lease.expose(port(8080));
  await lease.unexpose(port(8080));
  while (listening.size > 0) await new Promise(setImmediate);
  await t.rejects(lease.expose(port(8081), gone.signal), { message: 'the forward is not wanted any more' });
  while (listening.size > 0) await new Promise(setImmediate);
  t.equal(removals, 2);
  await t.rejects(lease.expose(port(8082)), { status: 503, message: 'ask again' });
  while (listening.size > 0) await new Promise(setImmediate);
});

t.test('a host that has too many leases is asked again', async (t) => {
  const { host, guest } = await start(t);
  let refusals = 0;
  guest.up((stream) => {
    if (refusals++ < 3) stream.refuse('policy', { code: 'EAGAIN', message: 'too many' });
    else host.server?.accept(stream);
  });
  t.match(await guest.control.openLease('docker').expose(port(0)), { out_port: Number });
  t.match(guest.log.lines, [{ msg: 'what the guest publishes is not forwarded: too many' }]);
  t.equal(guest.log.lines.length, 1);
});

t.test('a host that gives no lease until nobody waits any more', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 20 });
  guest.up((stream) => stream.refuse('policy', { code: 'EAGAIN', message: 'too many' }));
  await t.rejects(guest.control.openLease('docker').expose(port(0)), {
    name: 'ExposeError',
    status: 503,
    message: /too many/,
  });
});

t.test('a host that is at work on what was published before, or hangs', async (t) => {
  const { host, guest } = await start(t, { channelWaitMs: 5, publishTimeoutMs: 500 });
  let hangs = true;
  let asked = false;
  const hanging = serving(() => {
    asked = true;
  });
  guest.up((stream) => (hangs ? hanging(stream) : host.server?.accept(stream)));
  const lease = guest.control.openLease('docker');
  const number = await freePort();
  lease.publish([port(number)]);
  while (!asked) await new Promise(setImmediate);
  await t.rejects(lease.expose(port(0)), {
    name: 'ExposeError',
    status: 503,
    message: 'the host has not answered: it is still at work on what was published before',
  });
  hangs = false;
  await untilListening(host, port(number));
  t.match(guest.log.lines[0], {
    level: WARN,
    msg: 'the host has not taken what docker publishes: no answer within 0.5 s',
  });
});

t.test('nobody waits long for a host that hangs, and what was removed meanwhile stays away', async (t) => {
  const { host, guest } = await start(t, { answerTimeoutMs: 5 });
  const [one = 0, two = 0] = await chooseFreePorts(2);
  let asked = 0;
  guest.up(serving(() => void asked++));
  const lease = guest.control.openLease('docker');
  lease.publish([port(one), port(two)]);
  while (asked === 0) await new Promise(setImmediate);
  await lease.unexpose(port(one));
  t.same(await lease.list(), []);
  guest.down();
  guest.up();
  await untilListening(host, port(two));
});

t.test('a host that has something new to say each time does not fill the log', async (t) => {
  const { guest } = await start(t);
  let asked = 0;
  guest.up(
    serving((_request, response) => {
      const message = `reason ${asked++}`;
      response.writeHead(asked % 2 === 0 ? 200 : 400);
      response.end(
        JSON.stringify({ message, forwards: [{ state: 'failed', message, code: `E${asked % 3}` }] }),
      );
    }),
  );
  const lease = guest.control.openLease('docker');
  while (asked < 200) {
    const before = asked;
    lease.publish([port(1)]);
    while (asked === before) await new Promise(setImmediate);
  }
  t.ok(guest.log.lines.length <= 3 * 4, `${guest.log.lines.length} lines`);
  guest.control.close();
  t.match(guest.log.lines.at(-1), { more: Number });
});

t.test('a host that does not answer in time', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 100, answerTimeoutMs: 5 });
  const lease = guest.control.openLease('docker');
  guest.up(
    serving((request, response) => {
      if (request.url === '/v1/lease') response.end('{"forwards":[]}');
    }),
  );
  await t.rejects(lease.expose(port(0)), {
    name: 'ExposeError',
    status: 503,
    message: /^the host has not answered: /,
  });
  t.same(await lease.list(), []);
  await lease.unexpose(port(1));
});

t.test('who has no time at all is not served', async (t) => {
  const { host, guest } = await start(t, { channelWaitMs: 0 });
  guest.up();
  const lease = guest.control.openLease('docker');
  // Else what comes before it could be answered before the time is over.
  const answer = guest.holdAnswers();
  await t.rejects(lease.expose(port(0)), { name: 'ExposeError', status: 503 });
  answer();
  await lease.list();
  t.same(host.forwards.list(), []);
});

t.test('a host that does not take what is published is asked again', async (t) => {
  const { host, guest } = await start(t);
  const answers: [status: number, body: string][] = [
    [500, '{"message":"a fault"}'],
    [503, '{"message":"a fault"}'],
    [500, ''],
    [200, 'no JSON'],
  ];
  let asked = 0;
  const faulty = serving((_request, response) => {
    const [status = 0, body = ''] = answers[asked++] ?? [];
    response.writeHead(status).end(body);
  });
  guest.up((stream) => {
    if (asked < answers.length) faulty(stream);
    else host.server?.accept(stream);
  });
  const lease = guest.control.openLease('docker');
  const number = await freePort();
  lease.publish([port(number)]);
  await untilListening(host, port(number));
  t.same(
    guest.log.lines.map(({ msg }) => msg.replace(/.*: /, '')),
    ['a fault', 'the host has answered with 500', `Unexpected token 'o', "no JSON" is not valid JSON`],
  );
});

t.test('what the host finds wrong is not sent again', async (t) => {
  const { host, guest } = await start(t);
  guest.up();
  const number = await freePort();
  const lease = guest.control.openLease('docker');
  lease.publish(Array.from({ length: 17_000 }, () => ({ proto: 'tcp' }) as const));
  t.match(await guest.log.line(/^the host has not taken/), {
    level: WARN,
    msg: 'the host has not taken what docker publishes: 17000 forwards, at most 16384 are taken',
  });
  lease.publish([port(number)]);
  await untilListening(host, port(number));
  t.equal(guest.log.lines.length, 1);
});

t.test('a channel that is lost while requests wait for their turn', async (t) => {
  const { host, guest } = await start(t);
  let hanging = 0;
  guest.up(
    serving((request, response) => {
      if (request.url === '/v1/lease') response.end('{"forwards":[]}');
      else hanging++;
    }),
  );
  const lease = guest.control.openLease('docker');
  const listing = lease.list();
  t.same(await listing, [], 'nothing was asked for yet');
  lease.publish([]);
  const inFlight = lease.list();
  while (hanging === 0) await new Promise(setImmediate);
  const number = await freePort();
  lease.publish([port(number)]);
  const waiting = [inFlight, lease.list()];
  guest.down();
  t.same(await Promise.all(waiting), [[], []]);
  guest.up();
  await untilListening(host, port(number));
});

t.test('a host that tells less than it was asked', async (t) => {
  const { guest } = await start(t);
  const lease = guest.control.openLease('docker');
  lease.publish([port(1)]);
  guest.up(serving((_request, response) => void response.end('{"forwards":[]}')));
  await guest.log.line(/^the host does not listen \(failed\): the host has not said what has become of it$/);
});

t.test("a sleep uses up nobody's time: what is asked before it is answered after it", async (t) => {
  const { guest } = await start(t, { channelWaitMs: 10_000, answerTimeoutMs: 5_000 });
  const port = await freePort();
  let now = performance.now();
  mock.method(performance, 'now', () => now);
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => {
    mock.timers.reset();
    mock.restoreAll();
  });
  let answer: (() => void) | undefined;
  guest.up(
    serving((request, response) => {
      if (request.url === LEASE_RESOURCE) response.end('{"forwards":[]}');
      else answer = () => void response.end();
    }),
  );
  const asked = { proto: 'tcp', out_ip: '127.0.0.1', out_port: port, in_port: 80 } as const;
  const exposed = guest.control.openLease('api').expose(asked);
  while (!answer) await new Promise(setImmediate);
  now += 8 * 3600 * 1000;
  // At wake-up every timer fires whose time is over.
  mock.timers.tick(10_000);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  answer();
  t.same(await exposed, asked);
});

t.test('a channel that takes no more streams', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 5 });
  const solo = new Solo(everything, { maxStreams: 0 });
  guest.control.onUp(solo.multiplexer);
  await t.rejects(guest.control.openLease('docker').expose(port(0)), { name: 'ExposeError', status: 503 });
  t.match(guest.log.lines, [
    { msg: /^no lease can be had of the host, and is asked for again: the channel carries 0 streams/ },
  ]);
});

t.test('a host that is about to stop', async (t) => {
  const { guest } = await start(t, { channelWaitMs: 5 });
  const solo = new Solo(everything);
  solo.receive(encodeGoAway({ code: 'STOPPED', message: 'the host was told to stop' }));
  guest.control.onUp(solo.multiplexer);
  await t.rejects(guest.control.openLease('docker').expose(port(0)), {
    name: 'ExposeError',
    status: 503,
    message: 'the host has granted nothing for 0.005 s: it takes no new streams',
  });
  t.same(guest.log.lines, []);
});
