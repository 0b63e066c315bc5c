import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EngineReader } from '../../../guest/inspect/engine-containers.js';
import { InspectServer } from '../../../guest/inspect/inspect-server.js';
import { GuestInspector } from '../../../host/diagnose/guest-inspector.js';
import { INSPECT_SERVICE } from '../../../protocol/services/inspect.js';
import { engineWithWeb, fakeEngine } from '../../fixtures/fake-machine.js';
import { type Guest, startGuest } from '../../fixtures/guest.js';
import { Peer, type StreamRecorder } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';

/** A guest, and what the host asks it with. */
async function start(t: Test, engine?: EngineReader): Promise<Guest & { inspector: GuestInspector }> {
  const guest = await startGuest(t, engine ? { engine } : {});
  const { multiplexer } = guest.host;
  const inspector = new GuestInspector({
    takesStreams: true,
    obstacle: { by: 'channel', message: 'none' },
    open: (destination, handler) => multiplexer.open(destination, handler),
  });
  return { ...guest, inspector };
}

/** A stream to the service, on which this was sent. */
function send({ host }: Guest, text: string): StreamRecorder {
  const recorder = host.open({ proto: 'unix', path: INSPECT_SERVICE });
  recorder.send(text);
  return recorder;
}

t.test('the host is told what lies behind a port', async (t) => {
  const { inspector } = await start(t, fakeEngine(engineWithWeb()));
  t.match(await inspector.look({ published: '8080' }), { found: { container: { found: { name: 'web' } } } });
  t.match(await inspector.look({ proto: 'tcp', ip: '172.17.0.2', port: '80' }), {
    found: { container: { found: { privatePort: 80 } } },
  });
  t.match(await inspector.look({ container: 'web' }), {
    found: { container: { found: { privatePort: 80 } } },
  });
  t.match(await inspector.look({ container: 'web', private: '22' }), {
    found: { container: { found: { privatePort: 22 } } },
  });
});

t.test('a guest without an engine says so', async (t) => {
  const { inspector } = await start(t);
  t.match(await inspector.look({ published: '8080' }), {
    found: { container: { unseen: /no Docker engine/ } },
  });
});

t.test('a question that is none', async (t) => {
  const { inspector } = await start(t);
  for (const [query, unseen] of [
    [{}, '"published" must be a port'],
    [{ published: '0' }, '"published" must be a port'],
    [{ ip: '::1', port: '70000' }, '"port" must be a port'],
    [{ ip: 'localhost', port: '1' }, '"ip" must be a literal address'],
    [{ proto: 'sctp' }, '"proto" must be tcp or udp'],
    [{ container: '../x' }, '"container" must be the name or id of a container'],
    [{ container: 'web', private: 'x' }, '"private" must be a port'],
  ] as const)
    t.same(await inspector.look(query), { unseen });
});

t.test('other resources and methods are not there', async (t) => {
  const guest = await start(t);
  for (const request of ['GET /v2/way', 'POST /v1/way']) {
    const recorder = send(guest, `${request} HTTP/1.1\r\nhost: guest\r\ncontent-length: 0\r\n\r\n`);
    await guest.host.until(() => /no (GET|POST)/.test(recorder.received));
    t.match(recorder.received, /^HTTP\/1\.1 404 /);
  }
});

t.test('what goes wrong in the guest is said', async (t) => {
  const { inspector } = await start(t, { get: () => Promise.reject(new Error('a bug')) });
  t.match(await inspector.look({ published: '1' }), { found: { container: { unseen: 'a bug' } } });
});

t.test('only so many are served at a time', async (t) => {
  let answer = (): void => {};
  const waiting = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const engine: EngineReader = {
    get: async () => {
      await waiting;
      throw new Error('too late');
    },
  };
  const guest = await start(t, engine);
  const looks = [guest.inspector.look({ published: '1' }), guest.inspector.look({ published: '2' })];
  const streams = Array.from({ length: 15 }, () =>
    send(guest, 'GET /v1/way?published=3 HTTP/1.1\r\nhost: g\r\n\r\n'),
  );
  await guest.host.until(() => streams.some(({ received }) => received.includes('ask again')));
  await guest.host.until(() => streams.some(({ end }) => end !== undefined));
  t.match(
    streams.find(({ end }) => end !== undefined),
    { end: { how: 'refused', result: { reason: { message: 'the guest is asked 16 times already' } } } },
  );
  answer();
  t.match(await Promise.all(looks), [{ found: {} }, { found: {} }]);
});

t.test('a stream on which nothing is asked for too long ends', async (t) => {
  const address = { kind: 'unix', path: join(temporaryFolder(t), 'channel') } as const;
  const guest = await Peer.listen(t, address);
  const host = await Peer.connect(t, address);
  const server = new InspectServer({ engine: undefined }, 30);
  for (const text of ['', 'GET /v1/w', 'GET /nothing HTTP/1.1\r\nhost: g\r\n\r\n']) {
    const recorder = host.open({ proto: 'unix', path: INSPECT_SERVICE });
    if (text !== '') recorder.send(text);
    server.accept((await guest.nextStream()).stream);
    await host.until(() => recorder.end !== undefined);
    t.match(
      recorder,
      { end: { how: 'reset' }, received: text.endsWith('\n') ? /^HTTP\/1\.1 404/ : '' },
      text,
    );
  }
});

t.test('its end ends the streams', async (t) => {
  const guest = await start(t);
  const recorder = send(guest, 'GET /v1/way');
  await guest.host.until(() => recorder.result !== undefined);
  await guest.agent.stop();
  await guest.host.until(() => recorder.end !== undefined);
  t.ok(recorder.end);
});
