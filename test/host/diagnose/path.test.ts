import t from 'tap';
import type { WayQuery } from '../../../host/diagnose/guest-inspector.js';
import {
  formatPathQuestion,
  type PathReport,
  parsePathQuestion,
  tracePath,
} from '../../../host/diagnose/path.js';
import type { ForwardReport } from '../../../host/records/reports.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { makeForward, makeWay } from './fixtures/make-path.js';

const UNIX = makeForward({ id: 'unix /tmp/h', proto: 'unix', out_path: '/tmp/h', in_path: '/run/g' });

/** What is found, and what was asked for on the way. */
async function trace(
  of: string,
  forwards: ForwardReport[] = [makeForward()],
): Promise<PathReport & { looked: WayQuery[]; ports: string[] }> {
  const looked: WayQuery[] = [];
  const ports: string[] = [];
  const report = await tracePath(parsePathQuestion(of), {
    forwards: () => forwards,
    channel: () => fakeStatus().channel,
    inspector: {
      look: async (query) => {
        looked.push(query);
        return { found: makeWay() };
      },
    },
    findListeners: async (proto, port) => {
      ports.push(`${proto} ${port}`);
      return { found: [] };
    },
  });
  return { ...report, looked, ports };
}

t.test('what can be asked about', async (t) => {
  t.same(parsePathQuestion('8080'), { kind: 'port', proto: 'tcp', port: 8080 });
  t.same(parsePathQuestion('53/udp'), { kind: 'port', proto: 'udp', port: 53 });
  t.same(parsePathQuestion('web-1.x'), { kind: 'name', name: 'web-1.x' });
  t.same(parsePathQuestion('unix:/tmp/h'), { kind: 'path', path: '/tmp/h' });
  for (const [of, message] of [
    ['0', /there is no port 0/],
    ['65536', /from 1 to 65535/],
    ['', /neither a port/],
    ['-x', /nor the name of a container/],
    ['unix:tmp', /neither/],
  ] as const)
    t.throws(() => parsePathQuestion(of), { name: 'UsageError', message });
  t.same(
    ['8080', '53/udp', 'web', 'unix:/x'].map((of) => formatPathQuestion(parsePathQuestion(of))),
    [...['tcp 8080', 'udp 53', 'web', 'unix /x']],
  );
});

t.test('a port leads where its forward leads', async (t) => {
  t.match(await trace('8080'), {
    asked: 'tcp 8080',
    listeners: { found: [] },
    pid: process.pid,
    forwards: [{ id: 'tcp *:8080' }],
    channel: { state: 'connected' },
    looked: [{ proto: 'tcp', ip: '172.17.0.2', port: '80' }],
    ports: ['tcp 8080'],
  });
});

t.test('without a forward it is looked for who publishes it', async (t) => {
  t.match(await trace('8080/udp'), { forwards: [], looked: [{ proto: 'udp', published: '8080' }] });
});

t.test('a container, by its name or its id', async (t) => {
  for (const of of ['web', '1a2b3c4d5e6f'])
    t.match(await trace(of), { forwards: [{ id: 'tcp *:8080' }], ports: ['tcp 8080'] });
  const { annotation: _, ...other } = makeForward();
  // A guest that tells which container it is; what is written for people is not looked at then.
  const told = { ...makeForward(), container: 'db', container_id: 'abcdefabcdef' };
  for (const of of ['db', 'abcdefabcdef', 'abcdefabcdef0123'])
    t.match(await trace(of, [told]), { forwards: [{ id: 'tcp *:8080' }] });
  for (const of of ['web', 'abc', '1a2b3c4d5e6f']) t.match(await trace(of, [told]), { forwards: [] });
  t.match(await trace('abcdefabcdef', [{ ...other, container: 'db' }]), { forwards: [] });
  const nobody = await trace('web', [other]);
  t.match(nobody, { forwards: [], ports: [], looked: [{ container: 'web' }] });
  t.notOk('listeners' in nobody);
});

t.test('one forward of several on the same port', async (t) => {
  const forwards = [makeForward({ destination: 'tcp 172.17.0.9:80' }), makeForward({ in_ip: '172.17.0.3' })];
  const question = { kind: 'forward', id: 'tcp *:8080', destination: 'tcp 172.17.0.2:80' } as const;
  const report = await tracePath(question, {
    forwards: () => forwards,
    channel: () => fakeStatus().channel,
    inspector: { look: async () => ({ found: makeWay() }) },
    findListeners: async () => ({ found: [] }),
  });
  t.match(report, { asked: 'tcp *:8080', forwards: [{ in_ip: '172.17.0.3' }], listeners: { found: [] } });
  t.equal(report.forwards.length, 1);
  t.equal(formatPathQuestion(question), 'tcp *:8080');
});

t.test('a unix socket', async (t) => {
  t.match(await trace('unix:/tmp/h', [UNIX]), {
    ports: [],
    looked: [],
    guest: { unseen: 'the forward leads to a unix socket in the guest, /run/g' },
  });
  t.match(await trace('unix:/tmp/other', [UNIX]), { forwards: [], guest: { unseen: /no forward says/ } });
});

t.test('by default this machine is asked', async (t) => {
  const report = await tracePath(parsePathQuestion('1'), {
    forwards: () => [],
    channel: () => fakeStatus().channel,
    inspector: { look: async () => ({ unseen: 'x' }) },
  });
  t.ok(report.listeners);
});
