import { parseContainers } from '../../../guest/docker/containers.js';
import { withPodmanPorts } from '../../../guest/docker/podman.js';
import { computePublication } from '../../../guest/docker/publication.js';
import { type PublishRule, parsePublishRules } from '../../../guest/docker/rules.js';
import { readNetwork } from '../../../guest/inspect/container-link.js';
import { findContainer, findRivals, findRunning } from '../../../guest/inspect/engine-containers.js';
import { ruleFromVpnkit } from '../../../host/rule/vpnkit-rule.js';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import { engineWithWeb, fakeEngine } from '../../fixtures/fake-machine.js';
import { allow, byName } from '../target.js';

const REACH = { linkedGateways: new Set(['172.17.0.1']), mayDial: () => true };

/** Publications that are looked at in detail. */
const LOOKED_AT = 20;

/** More ports take long to publish, in line with their number; how many podman can name in a few bytes is bounded. */
const MAX_PORTS = 5_000;

const LIST = JSON.stringify([
  {
    Id: '0123456789abcdef',
    Names: ['/web', '/other/web'],
    State: 'running',
    Labels: { 'portferry.publish': 'true', 'portferry.proxy-protocol.80': 'v2', 'portferry.idle': '30' },
    Ports: [
      { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
      { IP: '::', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
      { IP: '127.0.0.1', PrivatePort: 53, PublicPort: 53, Type: 'udp' },
    ],
    NetworkSettings: {
      Networks: {
        bridge: { IPAddress: '172.17.0.2', Gateway: '172.17.0.1', GwPriority: 1, NetworkID: 'b1' },
      },
    },
  },
]);
const PODMAN = JSON.stringify([
  {
    Id: '0123456789abcdef',
    Ports: [{ host_ip: '', container_port: 80, host_port: 8080, range: 2, protocol: 'tcp,udp' }],
  },
]);
const RULES = JSON.stringify([
  { name: 'x', ports: '8000-8999', remap: '+10000', bind: 'localhost' },
  { container: 'db-*', deny: true },
  { label: 'a=b', proto: 'tcp', address: '*', proxy: 'v1', ports: 80, remap: 81 },
  { proto: 'udp', idle: 30, bind: '*' },
]);

/** What a Docker engine answers, what containers' labels wish, and the rules about them. */
export const containers = byName(
  {
    list: (text) => publish(parse(text), []),
    podman(text) {
      const own = parse(text);
      for (const list of [parse(LIST), own])
        publish(
          allow([OperationError], () => withPodmanPorts(list, own)),
          [],
        );
    },
    rules(text) {
      const rules = allow([UsageError], () => parsePublishRules(parse(text), 'a file'));
      if (rules) publish(parse(LIST), rules);
    },
    /** A container's name is its creator's, who may be anybody, and the rules are the user's. */
    name(text) {
      const [pattern = '', ...rest] = text.split('\n');
      const rules = allow([UsageError], () =>
        parsePublishRules([{ container: pattern, deny: true }], 'a file'),
      );
      if (rules) publish([{ Id: '1', Names: [`/${rest.join('\n')}`], Ports: parse(LIST) }], rules);
    },
    labels: (text) => publish([{ Id: '1', Names: ['/a'], Labels: parse(text), Ports: [] }], []),
    async inspect(text) {
      const answer = parse(text);
      readNetwork(answer);
      const listed = engineWithWeb();
      for (const answers of [
        { ...listed, '/containers/json?all=1': answer, '/containers/json': answer },
        Object.fromEntries(
          Object.entries(listed).map(([path, known]) => [
            path,
            path.includes('?') || path === '/containers/json' ? known : answer,
          ]),
        ),
      ])
        await look(answers);
    },
  },
  {
    list: [LIST, '[null,{"Id":"1","Names":null,"Ports":null}]'],
    podman: [PODMAN],
    rules: [RULES],
    name: ['db-*\ndb-1', '*a*b\nxaxb'],
    labels: [
      '{"portferry.publish":"false","portferry.host-address":"localhost","portferry.proxy-protocol":"v1"}',
    ],
    inspect: [
      LIST,
      ...Object.values(engineWithWeb()).map((known) =>
        typeof known === 'string' ? known : JSON.stringify(known),
      ),
    ],
  },
);

/** What is published can be asked for, and what is said of the rest is not without end. */
function publish(answer: unknown, rules: readonly PublishRule[]): void {
  const list = allow([OperationError], () => parseContainers(answer));
  if (!list || list.reduce((sum, { ports }) => sum + ports.length, 0) > MAX_PORTS) return;
  const { forwards, remarks } = computePublication(list, rules, REACH);
  for (const forward of forwards.slice(0, LOOKED_AT)) allow([UsageError], () => ruleFromVpnkit(forward));
  for (const { text } of remarks.slice(0, LOOKED_AT)) if (text === '') throw new Error('an empty remark');
}

async function look(answers: Readonly<Record<string, unknown>>): Promise<void> {
  const engine = fakeEngine(answers);
  const signal = new AbortController().signal;
  const wanted = { proto: 'tcp', port: 8080 } as const;
  // What cannot be seen is part of a report, with why: an answer that is odd can be seen.
  for (const ask of [
    () => findContainer(engine, { kind: 'published', ...wanted }, signal),
    () => findContainer(engine, { kind: 'destination', ip: '172.17.0.2', ...wanted }, signal),
    () =>
      findContainer(engine, { kind: 'container', proto: 'tcp', name: 'web', privatePort: undefined }, signal),
    () => findRivals(engine, [{ proto: 'tcp', ip: '', port: 8080, privatePort: 80 }], signal),
    () => findRunning(engine, signal),
  ])
    await ask().catch(refuseOurs);
}

/** The engine's troubles are no fault of ours. */
function refuseOurs(thrown: unknown): void {
  if (thrown instanceof TypeError || thrown instanceof RangeError) throw thrown;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
