import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { Diagnosis, type DiagnosisSources } from '../../../host/diagnose/diagnosis.js';
import { parsePathQuestion } from '../../../host/diagnose/path.js';
import { Records } from '../../../host/records/records.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { freePort } from '../../fixtures/free-ports.js';
import { makeContainer, makeForward, makeWay } from './fixtures/make-path.js';

function make(changes: Partial<DiagnosisSources> = {}): Diagnosis {
  return new Diagnosis({
    forwards: () => [makeForward({ addresses: ['127.0.0.1:1'] })],
    channel: () => fakeStatus().channel,
    inspector: { look: async () => ({ found: makeWay() }) },
    findListeners: async () => ({ found: [] }),
    records: new Records(),
    probe: async () => {},
    publishers: () => [],
    facts: () => ({ version: '1.2.3', platform: 'linux', clients: 0, maxClients: 10 }),
    ...changes,
  });
}

const QUESTION = parsePathQuestion('8080');

t.test('a connection is tried, and what it shows is judged', async (t) => {
  const report = await make().doctor(QUESTION);
  t.match(report, {
    asked: 'tcp 8080',
    ok: false,
    probe: { outcome: 'failed', error: 'ECONNREFUSED' },
    complaint: { hop: 'host', problem: /cannot be connected to: ECONNREFUSED/ },
    hops: [{ name: 'host', ok: false }, { name: 'forward' }],
  });
  t.notOk('ok' in (report.hops[1] ?? {}), 'what lies behind is not judged');
});

t.test('none is tried where none can be', async (t) => {
  const { records } = { records: new Records() };
  for (const changes of [
    { forwards: () => [makeForward({ proto: 'udp', out_port: 8080 })] },
    { forwards: () => [makeForward({ state: 'failed', error: 'x' })] },
    { channel: () => fakeStatus({ state: 'waiting' }).channel },
    { forwards: () => [] },
  ] as Partial<DiagnosisSources>[])
    t.notOk('probe' in (await make({ records, ...changes }).doctor(QUESTION)));
});

t.test('where nothing is wrong every hop that was seen is in order', async (t) => {
  const port = await freePort();
  const udp = makeForward({ proto: 'udp', out_port: port });
  const inspector = { look: async () => ({ found: makeWay({ link: { unseen: 'x' } }) }) };
  const { hops, ok } = await make({ forwards: () => [udp], inspector }).doctor(
    parsePathQuestion(`${port}/udp`),
  );
  t.ok(ok);
  t.same(
    hops.map((hop) => hop.ok),
    [true, true, true, true, true, true, undefined, true],
  );
});

t.test('the path alone', async (t) => {
  t.match(await make().path(QUESTION), { asked: 'tcp 8080', forwards: [{ id: 'tcp *:8080' }] });
});

t.test('the host itself, of whose guest it is found out first whether it is there', async (t) => {
  let probed = false;
  const diagnosis = make({
    forwards: () => [makeForward({ state: 'refused', error: 'not allowed' })],
    probe: async () => {
      probed = true;
    },
    channel: () => fakeStatus({ state: probed ? 'connected' : 'waiting' }).channel,
  });
  t.match(await diagnosis.health(), {
    ok: false,
    complaint: { hop: 'forward', problem: /is refused: not allowed$/ },
    checks: [{ name: 'channel', ok: true }, { name: 'publisher' }, { name: 'forward', ok: false }],
  });
});

t.test('a port that another forwarder of the VM has is tried there', async (t) => {
  const server = net.createServer();
  t.teardown(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const held = (proto: 'tcp' | 'udp'): Partial<DiagnosisSources> => ({
    forwards: () => [makeForward({ proto, out_port: port, state: 'failed', error: 'in use' })],
    findListeners: async () => ({
      found: [{ proto, ip: '127.0.0.1', port, pid: 5, command: 'com.docker.backend' }],
    }),
    inspector: {
      look: async () => {
        const published = [{ ip: '127.0.0.1', port, privatePort: 80, proto }];
        return { found: makeWay({ container: { found: makeContainer({ published }) } }) };
      },
    },
  });
  const report = await make(held('tcp')).doctor(parsePathQuestion(String(port)));
  t.match(report, {
    ok: true,
    probe: { address: `127.0.0.1:${port}`, outcome: 'connected' },
    remarks: [/^com\.docker\.backend \(pid 5\) forwards this port/],
  });
  t.same(report.hops.map(({ name, ok }) => [name, ok]).slice(0, 3), [
    ['host', true],
    ['forward', undefined],
    ['channel', true],
  ]);
  t.notOk('probe' in (await make(held('udp')).doctor(parsePathQuestion(`${port}/udp`))));
});

t.test('what is missing on the way gets its place there', async (t) => {
  const inspector = { look: async () => ({ found: makeWay({ container: { found: null } }) }) };
  const { hops } = await make({ forwards: () => [], inspector }).doctor(QUESTION);
  t.match(hops, [
    { name: 'host', ok: true },
    { name: 'forward', text: /^tcp 8080 is not forwarded/, ok: false },
    { name: 'channel' },
    { name: 'guest' },
  ]);
});
