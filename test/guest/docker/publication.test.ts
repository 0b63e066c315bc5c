import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Container } from '../../../guest/docker/containers.js';
import { computePublication } from '../../../guest/docker/publication.js';
import { DEFAULT_RULES, readRuleFile } from '../../../guest/docker/rules.js';
import { makeContainer, makePort } from './fixtures/make-container.js';

const annotation = 'container web (1a2b3c4d5e6f)';

function withRules(
  t: Test,
  rules: unknown,
  ...containers: Container[]
): ReturnType<typeof computePublication> {
  const folder = t.testdir({ 'rules.json': JSON.stringify(rules) });
  return computePublication(containers, readRuleFile(join(folder, 'rules.json')));
}

t.test('a published port is asked for as it is', async (t) => {
  const cases: [addresses: string[], outIp: string | undefined, inIp: string][] = [
    [['0.0.0.0', '::'], undefined, '127.0.0.1'],
    [['0.0.0.0'], '0.0.0.0', '127.0.0.1'],
    [['::'], '::', '::1'],
    [['127.0.0.1'], '127.0.0.1', '127.0.0.1'],
    [['10.0.0.5'], '10.0.0.5', '10.0.0.5'],
    [['fd00::5'], 'fd00::5', 'fd00::5'],
  ];
  for (const [addresses, outIp, inIp] of cases) {
    const container = makeContainer({ ports: [makePort({ addresses })] });
    const forward = {
      proto: 'tcp',
      ...(outIp && { out_ip: outIp }),
      out_port: 8080,
      in_ip: inIp,
      in_port: 8080,
      annotation,
    };
    t.same(computePublication([container], DEFAULT_RULES), { forwards: [forward], remarks: [] });
  }
});

t.test('the order of containers and ports makes no difference, and each forward is there once', async (t) => {
  const a = makeContainer({ ports: [makePort(), makePort({ port: 9090 }), makePort()] });
  const b = makeContainer({
    id: 'bbb',
    name: 'b',
    ports: [makePort({ port: 53, proto: 'udp' }), makePort({ port: 1 })],
  });
  const { forwards } = computePublication([a, b], DEFAULT_RULES);
  t.same(forwards, computePublication([b, { ...a, ports: [...a.ports].reverse() }], DEFAULT_RULES).forwards);
  t.same(
    new Set(forwards.map(({ proto, out_port: port }) => `${proto} ${port}`)),
    new Set(['tcp 1', 'tcp 8080', 'tcp 9090', 'udp 53']),
  );
  t.equal(forwards.length, 4);
});

t.test('what is not published is remarked on', async (t) => {
  const udp = (port: number) => makePort({ proto: 'udp', port });
  const container = makeContainer({ ports: [makePort({ proto: 'sctp' }), udp(5353), udp(53)] });
  const { forwards, remarks } = computePublication([container], DEFAULT_RULES);
  t.match(forwards, [{ proto: 'udp', out_port: 53 }]);
  t.same(remarks, [
    { level: 'warn', text: `${annotation}: sctp *:8080 is not published: portferry cannot forward sctp` },
    { level: 'info', text: `${annotation}: udp *:5353 is not published: default:mdns denies it` },
  ]);
  const labelled = makeContainer({
    labels: { 'portferry.publish': 'false', 'portferry.idle': 'x' },
    ports: [makePort({ addresses: ['::1'] })],
  });
  t.match(computePublication([labelled], DEFAULT_RULES), {
    forwards: [],
    remarks: [
      {
        level: 'warn',
        text: /^container web \(1a2b3c4d5e6f\): the label portferry\.idle=x is not understood/,
      },
      {
        level: 'info',
        text: `${annotation}: tcp [::1]:8080 is not published: its label portferry.publish=false asks for that`,
      },
    ],
  });
});

t.test('the first rule that matches decides', async (t) => {
  const ports = [8080, 8081, 5353, 70].map((port) =>
    makePort({ port, proto: port === 5353 ? 'udp' : 'tcp' }),
  );
  const rules = [
    { name: 'moved', ports: 8080, remap: 18080, bind: 'localhost', proxy: 'v1' },
    { name: 'gone', ports: '8000-8999', deny: true },
    { ports: 5353, idle: 30, bind: '*', remap: '+1' },
    { name: 'low', ports: 70, remap: '-70' },
  ];
  const { forwards, remarks } = withRules(t, rules, makeContainer({ ports }));
  const moved = {
    proto: 'tcp',
    out_port: 18080,
    in_ip: '127.0.0.1',
    in_port: 8080,
    proxy_protocol: 1,
    annotation,
  };
  t.same(
    new Set(forwards),
    new Set([
      { ...moved, out_ip: '127.0.0.1' },
      { ...moved, out_ip: '::1' },
      { proto: 'udp', out_port: 5354, in_ip: '127.0.0.1', in_port: 5353, idle_seconds: 30, annotation },
    ]),
  );
  t.same(remarks, [
    { level: 'info', text: `${annotation}: tcp *:8081 is not published: gone denies it` },
    {
      level: 'error',
      text: `${annotation}: tcp *:70 is not published: low would make it port 0, and ports go from 1 to 65535`,
    },
  ]);
  t.match(withRules(t, [{ remap: '+60000' }], makeContainer({ ports: [makePort()] })).remarks, [
    { level: 'error', text: /would make it port 68080/ },
  ]);
});

t.test('labels fill in what rules leave open, and cannot undo a denial', async (t) => {
  const labels = {
    'portferry.publish': 'true',
    'portferry.host-address': '127.0.0.1',
    'portferry.proxy-protocol.80': 'v2',
    'portferry.idle': '40',
  };
  const ports = [makePort(), makePort({ port: 8081, privatePort: 81 }), makePort({ port: 53, proto: 'udp' })];
  const rules = [
    { ports: 8081, bind: '10.0.0.1' },
    { ports: 81, deny: true },
  ];
  const container = makeContainer({ labels, ports: [...ports, makePort({ port: 81 })] });
  const { forwards, remarks } = withRules(t, rules, container);
  const common = { in_ip: '127.0.0.1', annotation };
  t.same(
    new Set(forwards),
    new Set([
      { proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080, in_port: 8080, proxy_protocol: 2, ...common },
      { proto: 'tcp', out_ip: '10.0.0.1', out_port: 8081, in_port: 8081, ...common },
      { proto: 'udp', out_ip: '127.0.0.1', out_port: 53, in_port: 53, idle_seconds: 40, ...common },
    ]),
  );
  t.match(remarks, [{ text: /tcp \*:81 is not published: rule 2 denies it/ }]);
});

t.test('a container whose ports are not known is a warning', async (t) => {
  const container = makeContainer({ problem: 'it has the port 0' });
  t.match(computePublication([container], DEFAULT_RULES).remarks, [
    { level: 'warn', text: /^container .* its ports are not published: it has the port 0$/ },
  ]);
});
