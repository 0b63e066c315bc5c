import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ContainerEndpoint } from '../../../guest/docker/container-networks.js';
import type { Container } from '../../../guest/docker/containers.js';
import { computePublication, type Reach } from '../../../guest/docker/publication.js';
import { DEFAULT_RULES, readRuleFile } from '../../../guest/docker/rules.js';
import { parseEndpointRule } from '../../../protocol/endpoint-rule.js';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import { makeContainer, makePort } from './fixtures/make-container.js';

/** No container can be reached at its own address. */
const FAR: Reach = { linkedGateways: new Set(), mayDial: () => true };

const annotation = 'container web (1a2b3c4d5e6f)';
/** What the host is told of its container. */
const NOTE = { annotation, container: 'web', container_id: '1a2b3c4d5e6f' };

function withRules(
  t: Test,
  rules: unknown,
  ...containers: Container[]
): ReturnType<typeof computePublication> {
  const folder = t.testdir({ 'rules.json': JSON.stringify(rules) });
  return computePublication(containers, readRuleFile(join(folder, 'rules.json')), FAR);
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
      ...NOTE,
    };
    t.same(computePublication([container], DEFAULT_RULES, FAR), { forwards: [forward], remarks: [] });
  }
});

t.test('the order of containers and ports makes no difference, and each forward is there once', async (t) => {
  const a = makeContainer({ ports: [makePort(), makePort({ port: 9090 }), makePort()] });
  const b = makeContainer({
    id: 'bbb',
    name: 'b',
    ports: [makePort({ port: 53, proto: 'udp' }), makePort({ port: 1 })],
  });
  const { forwards } = computePublication([a, b], DEFAULT_RULES, FAR);
  t.same(
    forwards,
    computePublication([b, { ...a, ports: [...a.ports].reverse() }], DEFAULT_RULES, FAR).forwards,
  );
  t.same(
    new Set(forwards.map(({ proto, out_port: port }) => `${proto} ${port}`)),
    new Set(['tcp 1', 'tcp 8080', 'tcp 9090', 'udp 53']),
  );
  t.equal(forwards.length, 4);
});

t.test('what is not published is remarked on', async (t) => {
  const udp = (port: number) => makePort({ proto: 'udp', port });
  const container = makeContainer({ ports: [makePort({ proto: 'sctp' }), udp(5353), udp(53)] });
  const { forwards, remarks } = computePublication([container], DEFAULT_RULES, FAR);
  t.match(forwards, [{ proto: 'udp', out_port: 53 }]);
  t.same(remarks, [
    { level: 'warn', text: `${annotation}: sctp *:8080 is not published: portferry cannot forward sctp` },
    { level: 'info', text: `${annotation}: udp *:5353 is not published: default:mdns denies it` },
  ]);
  const labelled = makeContainer({
    labels: { 'portferry.publish': 'false', 'portferry.idle': 'x' },
    ports: [makePort({ addresses: ['::1'] })],
  });
  t.match(computePublication([labelled], DEFAULT_RULES, FAR), {
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
    ...NOTE,
  };
  t.same(
    new Set(forwards),
    new Set([
      { ...moved, out_ip: '127.0.0.1' },
      { ...moved, out_ip: '::1' },
      { proto: 'udp', out_port: 5354, in_ip: '127.0.0.1', in_port: 5353, idle_seconds: 30, ...NOTE },
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
  const common = { in_ip: '127.0.0.1', ...NOTE };
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
  t.match(computePublication([container], DEFAULT_RULES, FAR).remarks, [
    { level: 'warn', text: /^container .* its ports are not published: it has the port 0$/ },
  ]);
});

t.test('a container is dialled at an address of its own that can be reached', async (t) => {
  const ways = { linkedGateways: new Set(['172.17.0.1', 'fd00::1']), mayDial: () => true };
  const far = { address: '10.1.0.2', gateway: '10.1.0.1' };
  const near = { address: '172.17.0.2', gateway: '172.17.0.1' };
  const near6 = { address: 'fd00::2', gateway: 'fd00::1' };
  const cases: [
    what: string,
    endpoints: ContainerEndpoint[],
    published: string[],
    inIp: string,
    inPort: number,
  ][] = [
    ['at the first that can be reached', [far, near], ['0.0.0.0', '::'], '172.17.0.2', 80],
    ['also for a port that is published on one address', [near], ['127.0.0.1'], '172.17.0.2', 80],
    ['in the family of the published address', [near, near6], ['::'], 'fd00::2', 80],
    ['in the other one where there is no choice', [near], ['::'], '172.17.0.2', 80],
    ['in the other one where there is no choice', [near6], ['0.0.0.0'], 'fd00::2', 80],
    ['where it is published if none can be', [far], ['0.0.0.0', '::'], '127.0.0.1', 8080],
    ['where it is published if it has none', [], ['10.0.0.5'], '10.0.0.5', 8080],
  ];
  for (const [what, endpoints, addresses, inIp, inPort] of cases)
    for (const proto of ['tcp', 'udp']) {
      const container = makeContainer({ endpoints, ports: [makePort({ proto, addresses })] });
      const { forwards } = computePublication([container], DEFAULT_RULES, ways);
      t.match(forwards, [{ proto, in_ip: inIp, in_port: inPort, out_port: 8080 }], what);
    }
});

t.test('an address that may not be dialled is as if it were not there', async (t) => {
  const endpoints = [
    { address: '172.17.0.2', gateway: '172.17.0.1' },
    { address: '172.18.0.2', gateway: '172.18.0.1' },
  ];
  const container = makeContainer({ endpoints, ports: [makePort({ proto: 'udp' })] });
  const dialled = (...texts: string[]): VpnkitPort[] => {
    const rules = texts.map((text) => parseEndpointRule(text, '--allow-dial'));
    return computePublication([container], DEFAULT_RULES, {
      linkedGateways: new Set(['172.17.0.1', '172.18.0.1']),
      mayDial: (destination) => rules.some((rule) => rule.allows(destination)),
    }).forwards;
  };
  t.match(dialled('172.16.0.0/12'), [{ in_ip: '172.17.0.2', in_port: 80 }]);
  t.match(dialled('172.18.0.0/16:80'), [{ in_ip: '172.18.0.2', in_port: 80 }]);
  t.match(dialled('127.0.0.1'), [{ in_ip: '127.0.0.1', in_port: 8080 }]);
  t.match(dialled('172.17.0.2/tcp'), [{ in_ip: '127.0.0.1', in_port: 8080 }]);
});

t.test('whoever is listed with the ports of another container publishes nothing twice', async (t) => {
  const ports = [makePort(), makePort({ port: 8081 })];
  const reach = { linkedGateways: new Set(['172.17.0.1']), mayDial: () => true };
  const web = makeContainer({ ports, endpoints: [{ address: '172.17.0.2', gateway: '172.17.0.1' }] });
  const { forwards } = computePublication([web, makeContainer({ id: 'b', ports })], DEFAULT_RULES, reach);
  t.match(forwards, [{ in_ip: '172.17.0.2' }, { in_ip: '172.17.0.2' }]);
  t.same(
    forwards.map(({ out_port: port }) => port),
    [8080, 8081],
    'two ports of the host may lead to one of the container',
  );
});
