import t from 'tap';
import { examine, type HealthSources } from '../../../host/diagnose/health.js';
import type { PathQuestion } from '../../../host/diagnose/path.js';
import type { ForwardReport } from '../../../host/records/reports.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { makeForward } from './fixtures/make-path.js';

/** When everything in here is looked at: ms since 1970. */
const NOW = 100_000;
const CLOSED = { hop: 'server', problem: 'it is shut', advice: 'open it' };

function failing(id: string, lastAt = new Date(NOW - 5000).toISOString()): ForwardReport {
  const failure = { cause: 'SC ECONNREFUSED', count: 2, lastMessage: 'nobody there', lastAt };
  return makeForward({ id, failures: [failure] });
}

/** What is found, and which forwards were looked at hop by hop. */
async function look(changes: Partial<HealthSources> = {}) {
  const asked: PathQuestion[] = [];
  const report = await examine(
    {
      forwards: () => [makeForward()],
      channel: () => fakeStatus().channel,
      publishers: () => [{ publisher: 'docker', leases: 1, forwards: 2, missing: 0 }],
      facts: () => ({ version: '1.2.3', platform: 'linux', clients: 0, maxClients: 10 }),
      ...changes,
      doctor: async (question) => {
        asked.push(question);
        return (await changes.doctor?.(question)) ?? {};
      },
    },
    NOW,
  );
  return { ...report, asked };
}

t.test('where all is well nothing is tried, and nothing is said of forwards', async (t) => {
  const { ok, checks, asked, remarks } = await look();
  t.ok(ok);
  t.same(asked, []);
  t.same(remarks, []);
  t.match(checks, [
    { name: 'channel', ok: true, text: /portferry-guest 1\.2\.3/ },
    { name: 'publisher', ok: true, text: 'docker: 1 lease, 2 forwards' },
  ]);
  t.equal(checks.length, 2);
});

t.test('without a channel that is what is wrong, and nothing else is tried', async (t) => {
  const { ok, complaint, checks, asked } = await look({
    channel: () => fakeStatus({ state: 'waiting', lastError: 'the guest went' }).channel,
    forwards: () => [failing('tcp *:81')],
    publishers: () => [],
  });
  t.notOk(ok);
  t.match(complaint, { hop: 'channel', problem: /the guest went$/, advice: /start portferry-guest/ });
  t.same(asked, []);
  t.match(checks, [
    { name: 'channel', ok: false },
    { name: 'publisher', text: 'nobody in the guest asks for forwards' },
    {
      name: 'forward',
      text: /^tcp \*:81: failed 2 times \(SC ECONNREFUSED\), the last time 5 s ago: nobody/,
    },
  ]);
  t.notOk(
    checks.slice(1).some((check) => 'ok' in check),
    'that could not be seen',
  );
});

t.test('a forward that has failed lately is looked at, and so is one that is not listened on', async (t) => {
  const missing = makeForward({ id: 'tcp *:82', state: 'failed', error: 'in use' });
  const { complaint, checks, asked } = await look({
    forwards: () => [makeForward(), failing('tcp *:81'), missing, failing('tcp *:83')],
    publishers: () => [{ publisher: 'docker', leases: 2, forwards: 1, missing: 1 }],
    doctor: async (question) =>
      question.kind === 'forward' && question.id !== 'tcp *:81' ? { complaint: CLOSED } : {},
  });
  t.match(asked, [
    { kind: 'forward', id: 'tcp *:81', destination: 'tcp 172.17.0.2:80' },
    { id: 'tcp *:82' },
    { id: 'tcp *:83' },
  ]);
  t.match(complaint, { ...CLOSED, problem: 'it is shut (and 1 more problem, see above)' });
  t.match(checks.slice(1), [
    { name: 'publisher', ok: false, text: 'docker: 2 leases, 1 forward, 1 of which are not listened on' },
    { name: 'forward', ok: true, text: /^tcp \*:81: failed 2 times .*: nobody there; nothing is wrong now$/ },
    { name: 'forward', ok: false, text: 'tcp *:82: it is shut' },
    { name: 'forward', ok: false, text: 'tcp *:83: it is shut' },
  ]);
});

t.test('one that is not listened on and can be now is no complaint', async (t) => {
  const missing = makeForward({ id: 'tcp *:82', state: 'failed', error: 'in use' });
  const { ok, checks } = await look({ forwards: () => [missing] });
  t.ok(ok);
  t.match(checks.at(-1), { ok: true, text: 'tcp *:82: failed: in use; nothing is wrong now' });
});

t.test('what failed long ago is no news', async (t) => {
  const old = failing('tcp *:81', new Date(NOW - 3_600_000).toISOString());
  t.same((await look({ forwards: () => [old] })).asked, []);
});

t.test('however many there are, few are looked at, and some are named', async (t) => {
  const forwards = Array.from({ length: 100 }, (_, index) => failing(`tcp *:${index}`));
  const publishers = Array.from({ length: 50 }, (_, index) => ({
    ...{ publisher: `p${index}`, leases: 1, forwards: 0, missing: 0 },
  }));
  const { checks, asked } = await look({ forwards: () => forwards, publishers: () => publishers });
  t.equal(asked.length, 8);
  t.equal(checks.filter(({ ok }) => ok === undefined).length, 32 - 8 + 2);
  t.match(checks[33], { name: 'publisher', text: 'and 18 more' });
  t.match(checks.at(-1), { name: 'forward', text: 'and 68 more' });
});

t.test('what may be the reason all the same', async (t) => {
  const { remarks } = await look({
    facts: () => ({ version: '1.2.3', platform: 'linux', clients: 10, maxClients: 10 }),
  });
  t.match(remarks, [/ulimit -n/]);
});
