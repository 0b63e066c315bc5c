import { rmSync, symlinkSync, type watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Container } from '../../../guest/docker/containers.js';
import { EngineClient, type EngineEvent } from '../../../guest/docker/engine.js';
import { EngineError } from '../../../guest/docker/engine-socket.js';
import { DockerPublisher, MAX_DEAD, type PublisherOptions } from '../../../guest/docker/publisher.js';
import { DEFAULT_RULES, type PublishRule } from '../../../guest/docker/rules.js';
import { SocketWatch } from '../../../guest/docker/socket-watch.js';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import type { Destination } from '../../../protocol/wire/destination.js';
import { DEBUG, ERROR, INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { EngineServer, HOSTNAME, listed } from './fixtures/engine-server.js';
import { makeContainer, makePort } from './fixtures/make-container.js';
import { RecordingLease } from './fixtures/recording-lease.js';

interface Published {
  publisher: DockerPublisher;
  lease: RecordingLease;
  log: LogRecorder;
}

/** A publisher that does not wait long; when the engine goes, the test decides whether its time is over. */
function publish(t: Test, socket: string, options: Partial<PublisherOptions> = {}): Published {
  const lease = new RecordingLease();
  const log = new LogRecorder();
  const publisher = new DockerPublisher({
    engine: new EngineClient(socket),
    lease,
    rules: DEFAULT_RULES,
    mayDial: () => true,
    logger: log.logger,
    hostname: HOSTNAME,
    graceMs: 60_000,
    backoffMs: [1, 4],
    ...options,
  });
  t.teardown(() => publisher.stop());
  publisher.start();
  return { publisher, lease, log };
}

/** An engine of which the test says when its time limits are over. */
class StallingEngine extends EngineClient {
  stalled = false;

  override async listContainers(signal: AbortSignal): Promise<Container[]> {
    this.#answer('the list');
    return super.listContainers(signal);
  }

  override async openEvents(sinceSeconds: number, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    this.#answer('the events');
    return super.openEvents(sinceSeconds, signal);
  }

  #answer(what: string): void {
    if (this.stalled) throw new EngineError('silent', `${what}: it has not answered`);
  }
}

const annotationOf = (forwards: readonly VpnkitPort[] = []): string => forwards[0]?.annotation ?? '';

const UP = /^the ports that the Docker engine at .* publishes are published on the host$/;

t.test('what runs is published, and what starts and ends later follows', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const { publisher, lease, log } = publish(t, engine.socket);
  await lease.has(8080);
  t.same(lease.published[0], [
    {
      ...{ proto: 'tcp', out_port: 8080, in_ip: '127.0.0.1', in_port: 8080 },
      ...{ annotation: 'container web (a)', container: 'web', container_id: 'a' },
    },
  ]);
  t.match(await log.line(UP), { level: INFO });

  engine.containers = [listed('a', 'web', 8080), listed('b', 'db', 5432)];
  engine.emit('container', 'start', 'b');
  await lease.has(5432, 8080);
  engine.containers = [listed('b', 'sql', 5432)];
  engine.emit('container', 'destroy', 'a');
  await lease.has(5432);
  t.match(lease.published.at(-1), [{ annotation: 'container sql (b)', container: 'sql' }]);

  publisher.stop();
  t.equal(lease.closed, true);
  await engine.until(() => engine.listeners === 0);
  t.equal(log.matching(UP).length, 1);
});

t.test('events that change nothing publish nothing', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const { lease } = publish(t, engine.socket);
  await lease.has(8080);
  engine.emit('daemon', 'reload');
  await engine.until(() => engine.lists === 2);
  engine.containers = [];
  engine.emit('network', 'disconnect', 'n');
  await lease.has();
  t.equal(lease.published.length, 2);
});

t.test('a burst of events costs two lists', async (t) => {
  const engine = await EngineServer.start(t);
  const { lease, log } = publish(t, engine.socket);
  await log.line(UP);
  const open: (() => void)[] = [];
  engine.onList = (response) => {
    const containers = JSON.stringify(engine.containers);
    open.push(() => response.end(containers));
  };
  const before = engine.lists;
  engine.emit('container', 'start', 'a');
  await engine.until(() => engine.lists === before + 1);
  for (let count = 0; count < 100; count++) engine.emit('container', 'start', `${count}`);
  engine.emit('container', 'die', 'a');
  engine.containers = [listed('a', 'web', 8080), listed('b', 'db', 5432)];
  open[0]?.();
  await engine.until(() => engine.lists === before + 2);
  open[1]?.();
  await lease.has(5432);
  t.equal(engine.lists, before + 2);
});

t.test('a container that has died is gone before the engine takes it from its list', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080), listed('b', 'db', 5432)];
  const { lease } = publish(t, engine.socket);
  await lease.has(5432, 8080);
  engine.emit('container', 'die', 'a');
  await lease.has(5432);
  engine.emit('container', 'start', 'a');
  await lease.has(5432, 8080);

  engine.emit('container', 'die', 'a');
  await lease.has(5432);
  engine.containers = [];
  engine.emit('container', 'destroy', 'a');
  await lease.has();
  // Whatever is listed again after it had been taken from the list lives.
  engine.containers = [listed('a', 'web', 8080)];
  engine.emit('container', 'rename', 'a');
  await lease.has(8080);
});

t.test('a list from before a container died does not let it come to life again', async (t) => {
  const engine = await EngineServer.start(t);
  const { lease, log } = publish(t, engine.socket);
  await log.line(UP);
  let answer = (): void => {};
  const { onList } = engine;
  engine.onList = (response) => {
    answer = () => response.end('[]');
  };
  const before = engine.lists;
  engine.emit('container', 'start', 'b');
  await engine.until(() => engine.lists === before + 1);
  engine.onList = onList;
  engine.containers = [listed('a', 'web', 8080), listed('b', 'db', 5432)];
  engine.emit('container', 'start', 'a');
  engine.emit('container', 'die', 'a');
  answer();
  await lease.has(5432);
});

t.test('of containers that die without end the last are remembered', async (t) => {
  const nameless = 'c'.repeat(129);
  const containers = [
    makeContainer({ id: 'a', ports: [makePort({ port: 8080 })] }),
    makeContainer({ id: 'b', ports: [makePort({ port: 5432 })] }),
    makeContainer({ id: nameless, ports: [makePort({ port: 6379 })] }),
  ];
  const dying = ['a', 'b', nameless, ...Array.from({ length: MAX_DEAD - 1 }, (_, index) => `${index}`)];
  let startAsking = (): void => {};
  const asked = new Promise<void>((resolve) => {
    startAsking = resolve;
  });
  let allTold = (): void => {};
  const told = new Promise<void>((resolve) => {
    allTold = resolve;
  });
  async function* events(): AsyncGenerator<EngineEvent> {
    await asked;
    for (const id of dying) yield { type: 'container', action: 'die', id };
    allTold();
    await new Promise(() => {});
  }
  const { lease } = publish(t, '/nowhere', {
    engine: {
      socket: '/nowhere',
      tellsAll: true,
      findHome: async () => ({ hostname: HOSTNAME, rootless: false }),
      openEvents: async () => events(),
      listContainers: async () => {
        startAsking();
        await told;
        return containers;
      },
    },
  });
  await lease.has(6379, 8080);
});

t.test('what a connection to a network brings is looked for a little later, too', async (t) => {
  const engine = await EngineServer.start(t);
  const { log, lease } = publish(t, engine.socket, { lookAgainMs: [1, 5] });
  await log.line(UP);
  const before = engine.lists;
  engine.onList = (response) => {
    // The first look comes too early.
    response.end(JSON.stringify(engine.lists > before + 1 ? [listed('a', 'web', 8080)] : []));
  };
  engine.emit('network', 'connect', 'n');
  await lease.has(8080);
});

t.test(
  'when the engine goes its ports stay for a while, and nothing of old stays after it is back',
  async (t) => {
    const engine = await EngineServer.start(t);
    engine.containers = [listed('a', 'web', 8080)];
    const { lease, log } = publish(t, engine.socket);
    await lease.has(8080);
    await engine.close();
    t.match(await log.line(/has ended its events|has broken the connection/), { level: DEBUG });
    t.match(await log.line(/no such socket|nobody listens/), {
      level: WARN,
      msg: /what is published goes unless it is back within 60 s; connecting again until it works$/,
    });
    t.match(await log.line(/no such socket|nobody listens/, 2), { level: DEBUG });
    engine.containers = [listed('b', 'db', 5432)];
    await engine.listen();
    await lease.has(5432);
    t.same(
      lease.published.map((forwards) => forwards.length),
      [1, 1],
      'without a moment in which nothing is published',
    );
    await log.line(UP, 2);
    t.equal(log.lines.filter(({ level }) => level === WARN).length, 1);
  },
);

t.test('when it stays away nothing is published any more, until it is back', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const { lease, log } = publish(t, engine.socket, { graceMs: 5 });
  await lease.has(8080);
  await engine.close();
  await lease.has();
  await engine.listen();
  await lease.has(8080);
  t.equal(log.lines.filter(({ level }) => level === WARN).length, 1);
});

t.test('an engine that is not there is waited for, with one warning', async (t) => {
  const socket = join(temporaryFolder(t), 'docker.sock');
  const { log, lease } = publish(t, socket);
  await log.line(/no such socket/, 4);
  t.equal(log.lines.filter(({ level }) => level === WARN).length, 1);
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  // A stale one first, which nobody answers on.
  writeFileSync(socket, '');
  await log.line(/ENOTSOCK|nobody listens/);
  rmSync(socket);
  symlinkSync(engine.socket, socket);
  await lease.has(8080);
});

t.test('it can be stopped while an engine is waited for', async (t) => {
  const { log, publisher } = publish(t, join(temporaryFolder(t), 'docker.sock'));
  await log.line(/no such socket/, 4);
  await new Promise((resolve) => setTimeout(resolve));
  publisher.stop();
  await new Promise(setImmediate);
  t.equal(log.matching(/no such socket/).length, 4);
});

t.test('where its folder cannot be watched it is looked for now and then, which is said once', async (t) => {
  const socket = join(temporaryFolder(t), 'docker.sock');
  const none = (() => {
    throw new Error('ENOSPC: no more watches');
  }) as typeof watch;
  const watchSocket = (path: string): SocketWatch => new SocketWatch(path, none, 1);
  const { log, lease } = publish(t, socket, { watchSocket });
  t.match(await log.line(/cannot be watched, and is looked at now and then: ENOSPC/), { level: INFO });
  await log.line(/no such socket/, 10);
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  symlinkSync(engine.socket, socket);
  await lease.has(8080);
  t.equal(log.matching(/cannot be watched/).length, 1);
});

t.test('an engine that cannot list its containers is tried again, and keeps its ports', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = 'nonsense';
  const { lease, log } = publish(t, engine.socket, { graceMs: 1 });
  t.match(await log.line(/list of containers cannot be understood/), { level: WARN });
  engine.containers = [listed('a', 'web', 8080)];
  await lease.has(8080);
  const { onList } = engine;
  engine.onList = (response) => response.writeHead(500).end('broken');
  engine.emit('container', 'start', 'b');
  t.match(await log.line(/it answers with 500: broken/), { level: WARN, msg: /; what is published stays; / });
  await lease.until((forwards) => /; the Docker engine answers with an error$/.test(annotationOf(forwards)));
  await log.line(/it answers with 500: broken/, 3);
  t.same(lease.ports, [8080]);
  engine.onList = onList;
  await lease.until((forwards) => annotationOf(forwards) === 'container web (a)');
  t.equal(lease.published.length, 3, 'the lease has been told of nothing else');
});

t.test('an engine that only ends its events has not gone', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const { lease, log } = publish(t, engine.socket, { graceMs: 1 });
  await lease.has(8080);
  engine.onEvents = (response) => response.end();
  engine.endEvents();
  t.match(await log.line(/has ended its events/, 3), { level: DEBUG });
  t.same(lease.published.length, 1);
  t.equal(log.lines.filter(({ level }) => level >= INFO).length, 1, 'one line when it was found');
});

t.test('an engine that does not answer keeps its ports, and the list says why', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const client = new StallingEngine(engine.socket);
  const { publisher, lease, log } = publish(t, engine.socket, {
    engine: client,
    graceMs: 1,
    staleListMs: 0,
  });
  await lease.has(8080);
  client.stalled = true;
  publisher.used();
  t.match(await log.line(/has not answered/), {
    level: WARN,
    msg: 'the list: it has not answered; what is published stays; connecting again until it works',
  });
  t.match(await log.line(/the events: it has not answered/, 2), { level: DEBUG });
  t.equal(annotationOf(lease.published.at(-1)), 'container web (a); the Docker engine does not answer');
  t.same(lease.ports, [8080]);
  client.stalled = false;
  await lease.until((forwards) => annotationOf(forwards) === 'container web (a)');
  t.equal(lease.published.length, 3);
  await log.line(UP, 2);
  t.equal(log.lines.filter(({ level }) => level === WARN).length, 1);

  client.stalled = true;
  publisher.used();
  await lease.until((forwards) => /does not answer$/.test(annotationOf(forwards)));
  await engine.close();
  client.stalled = false;
  t.match(await log.line(/no such socket|nobody listens/), { level: WARN, msg: /goes unless it is back/ });
  await lease.has();
  t.match(await log.line(/stays away: nothing is published for it any more$/), { level: INFO });
});

t.test('what no event has told of is found when a client comes', async (t) => {
  const engine = await EngineServer.start(t);
  const { lease, log, publisher } = publish(t, engine.socket, { staleListMs: 0 });
  publisher.used();
  await log.line(UP);
  engine.containers = [listed('a', 'web', 8080)];
  publisher.used();
  await lease.has(8080);
  engine.containers = [];
  publisher.used();
  await lease.has();
});

t.test('many clients cost no list each', async (t) => {
  const engine = await EngineServer.start(t);
  const { log, publisher } = publish(t, engine.socket);
  await log.line(UP);
  for (let count = 0; count < 100; count++) publisher.used();
  engine.emit('daemon', 'reload');
  await engine.until(() => engine.lists === 2);
  publisher.stop();
  await engine.until(() => engine.listeners === 0);
  t.equal(engine.lists, 2);
});

t.test('what no event of podman has told of is found all the same', async (t) => {
  const engine = await EngineServer.start(t);
  engine.podman = { version: '4.3.1', containers: [] };
  engine.containers = [listed('a', 'web', 8080)];
  const { lease } = publish(t, engine.socket, { relistMs: 5 });
  await lease.has(8080);
  engine.containers = [];
  await lease.has();
  engine.containers = [listed('b', 'db', 5432)];
  await lease.has(5432);
});

t.test('a mistake of ours is logged with its stack, and does not end it', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('a', 'web', 8080)];
  const rules = [...DEFAULT_RULES];
  const rule: PublishRule = {
    name: 'wrong',
    deny: false,
    wishes: {},
    matches: () => {
      throw new TypeError('oops');
    },
  };
  rules.push(rule);
  const { lease, log } = publish(t, engine.socket, { rules });
  t.match(await log.line(/a bug$/), { level: ERROR, err: { stack: /oops.*publisher/s } });
  rules.pop();
  await lease.has(8080);
});

/** A container in a network of which this machine's loopback is the gateway. */
function reachable(id: string, address = '127.0.0.2'): object {
  const networks = { bridge: { IPAddress: address, Gateway: '127.0.0.1' } };
  return { ...listed(id, 'web', 8080), NetworkSettings: { Networks: networks } };
}

t.test('a container is dialled at its own address where the engine is near', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [reachable('a')];
  const { lease, log } = publish(t, engine.socket);
  await lease.has(8080);
  t.match(lease.published[0], [{ in_ip: '127.0.0.2', in_port: 80, out_port: 8080 }]);
  engine.containers = [reachable('a', '127.0.0.3')];
  engine.emit('container', 'start', 'a');
  await lease.until(([forward]) => forward?.in_ip === '127.0.0.3');
  engine.containers = [reachable('a', '192.0.2.1')];
  engine.emit('container', 'start', 'a');
  await lease.until(([forward]) => forward?.in_ip === '127.0.0.1' && forward.in_port === 8080);
  t.same(log.matching(/own addresses/), []);
});

t.test('elsewhere it is dialled where its port is published, which the log explains', async (t) => {
  const homes: [info: unknown, why: RegExp][] = [
    [{ Name: 'other' }, /it runs on "other", and this is vm$/],
    [{ Name: HOSTNAME, SecurityOptions: ['name=rootless'] }, /it is rootless$/],
    [undefined, /cannot be asked for \/info: it answers with 403: no$/],
  ];
  for (const [info, why] of homes) {
    const engine = await EngineServer.start(t);
    engine.containers = [reachable('a')];
    if (info === undefined) engine.onInfo = (response) => response.writeHead(403).end('no');
    else engine.info = info;
    const { lease, log } = publish(t, engine.socket);
    await lease.has(8080);
    t.match(lease.published[0], [{ in_ip: '127.0.0.1', in_port: 8080 }]);
    t.match(await log.line(why), {
      level: INFO,
      msg: /^containers of the Docker engine at .* are dialled where their ports are published, not at their own addresses: /,
    });
  }
});

t.test('a container that may not be dialled is reached where its port is published', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [reachable('a')];
  const asked: Destination[] = [];
  const mayDial = (destination: Destination): boolean => {
    asked.push(destination);
    return false;
  };
  const { lease } = publish(t, engine.socket, { mayDial });
  await lease.has(8080);
  t.match(lease.published[0], [{ in_ip: '127.0.0.1', in_port: 8080 }]);
  t.same(asked, [{ proto: 'tcp', ip: '127.0.0.2', port: 80 }]);
});

t.test('a list that comes after the end is not looked at', async (t) => {
  const lease = new RecordingLease();
  const log = new LogRecorder();
  const answers: ((containers: Container[]) => void)[] = [];
  const publisher = new DockerPublisher({
    engine: {
      socket: '/docker.sock',
      tellsAll: true,
      openEvents: async () => (async function* () {})(),
      listContainers: () => new Promise((resolve) => answers.push(resolve)),
      findHome: async () => ({ hostname: 'vm', rootless: false }),
    },
    lease,
    rules: DEFAULT_RULES,
    mayDial: () => true,
    logger: log.logger,
    backoffMs: [1, 1],
  });
  t.teardown(() => publisher.stop());
  publisher.start();
  t.match(await log.line(/the Docker engine at \/docker\.sock has ended its events/), { level: DEBUG });
  answers[0]?.([makeContainer({ ports: [makePort()] })]);
  await log.line(/has ended its events/, 3);
  t.same(lease.published, []);
  t.same(log.matching(UP), []);
});

t.test('each remark is made once', async (t) => {
  const engine = await EngineServer.start(t);
  const mdns = { Id: 'm', Names: ['/mdns'], Ports: [{ PrivatePort: 1, PublicPort: 5353, Type: 'udp' }] };
  engine.containers = [mdns];
  const { lease, log, publisher } = publish(t, engine.socket);
  const remark = /^container mdns \(m\): udp \*:5353 is not published: default:mdns denies it$/;
  t.match(await log.line(remark), { level: INFO });
  engine.containers = [mdns, listed('a', 'web', 8080)];
  engine.emit('container', 'start', 'a');
  await lease.has(8080);
  t.equal(log.matching(remark).length, 1);

  engine.containers = [
    ...Array.from({ length: 10_000 }, (_, index) => ({
      ...mdns,
      Id: `m${index}`,
      Names: [`/mdns-${index}`],
    })),
    mdns,
  ];
  engine.emit('container', 'start', 'm');
  await lease.has();
  t.equal(log.matching(/^container mdns/).length, 100, 'of very many some are told one by one');
  await publisher.stop();
  const [told] = log.matching(/ \(the last of 9902 more like it/);
  t.match(told, { level: INFO, msg: /^container mdns \(m\)/ }, 'and this one once more');
});
