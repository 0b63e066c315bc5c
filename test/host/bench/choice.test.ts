import t from 'tap';
import { choose, WORKLOADS } from '../../../host/bench/choice.js';
import { formatEndpoint, parseEndpoint } from '../../../host/bench/endpoint.js';
import { RIVALS } from '../../../host/bench/rivals/rivals.js';
import { UsageError } from '../../../protocol/errors.js';

const names = (things: readonly { name: string }[]): string[] => things.map(({ name }) => name);

t.test('everything, where nothing is said', async (t) => {
  t.same(choose([], []), { rivals: RIVALS, workloads: WORKLOADS });
  t.same(names(RIVALS).slice(0, 2), ['direct', 'portferry']);
});

t.test(
  'names of workloads restrict those, names of rivals these, always in the order of the report',
  async (t) => {
    const chosen = choose(['latency,portferry', 'bulk-up', 'direct,latency'], []);
    t.same(names(chosen.rivals), ['direct', 'portferry']);
    t.same(names(chosen.workloads), ['bulk-up', 'latency']);
    t.same(choose(['socat'], []).workloads, WORKLOADS);
    t.same(choose(['latency'], []).rivals, RIVALS);
  },
);

t.test('rivals that run already', async (t) => {
  const { rivals } = choose(['mine', 'other'], ['mine=127.0.0.1:80', 'other=[::1]:81']);
  const target = { host: '127.0.0.1', port: 1 };
  t.same(names(rivals), ['mine', 'other']);
  for (const [index, endpoint] of [
    { host: '127.0.0.1', port: 80 },
    { host: '::1', port: 81 },
  ].entries()) {
    const rival = rivals[index];
    t.same(await rival?.find(), { version: '' });
    t.equal(rival?.setup, `at ${formatEndpoint(endpoint)}`);
    const running = await rival?.start(target, '/nowhere');
    t.match(running, { endpoint, pids: [] });
    await running?.stop();
  }
});

t.test('the rival that is no forwarder leads to the far end itself', async (t) => {
  const [direct] = choose(['direct'], []).rivals;
  t.same(await direct?.find(), { version: '' });
  const endpoint = { host: '127.0.0.1', port: 7 };
  const running = await direct?.start(endpoint, '/nowhere');
  t.match(running, { endpoint, pids: [] });
  await running?.stop();
});

t.test('what cannot be chosen', async (t) => {
  const wrong: [only: string[], external: string[], message: RegExp][] = [
    [['bulk-up,nonsense'], [], /^--only nonsense: there is no such workload or rival; there are bulk-up, /],
    [[''], [], /^--only : there is no such/],
    [[], ['x'], /^--rival x: it must be NAME=HOST:PORT/],
    [[], ['=127.0.0.1:1'], /it must be NAME=HOST:PORT/],
    [[], ['../x=127.0.0.1:1'], /it must be NAME=HOST:PORT/],
    [[], ['..=127.0.0.1:1'], /it must be NAME=HOST:PORT/],
    [[], ['x='], /it must be NAME=HOST:PORT/],
    [[], ['x=127.0.0.1'], /'127\.0\.0\.1' is no HOST:PORT/],
    [[], ['socat=127.0.0.1:1'], /there is a workload or rival socat already/],
    [[], ['latency=127.0.0.1:1'], /there is a workload or rival latency already/],
    [[], ['x=127.0.0.1:1', 'x=127.0.0.1:2'], /there is a workload or rival x already/],
  ];
  for (const [only, external, message] of wrong) {
    t.throws(() => choose(only, external), UsageError);
    t.throws(() => choose(only, external), message);
  }
});

t.test('endpoints', async (t) => {
  t.same(parseEndpoint('127.0.0.1:5201'), { host: '127.0.0.1', port: 5201 });
  t.same(parseEndpoint('localhost:0'), { host: '127.0.0.1', port: 0 });
  t.same(parseEndpoint('[::1]:65535'), { host: '::1', port: 65535 });
  for (const text of ['127.0.0.1:5201', '[::1]:5201']) t.equal(formatEndpoint(parseEndpoint(text)), text);
  const wrong = ['', ':1', '1', 'example.org:1', '::1:1', '[127.0.0.1]:1', '[]:1', '1.2.3:1', '999.1.1.1:1'];
  for (const text of [...wrong, '127.0.0.1:65536', '127.0.0.1:', '127.0.0.1:1x', '127.0.0.1:123456'])
    t.throws(() => parseEndpoint(text), UsageError, text);
});
