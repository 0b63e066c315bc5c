import t from 'tap';
import { type Container, parseContainers } from '../../../guest/docker/containers.js';
import { nameContainer } from '../../../protocol/services/container-name.js';
import { EVERY_ADDRESS } from '../../../protocol/wire/address.js';

const id = '1a2b3c4d5e6f7a8b9c';

function portsOf(...ports: unknown[]): unknown {
  return parseContainers([{ Id: id, Names: ['/web'], Ports: ports }])[0]?.ports;
}

/** As the engine has them. */
const port = (ip: string | undefined, publicPort: number, privatePort = 80, type = 'tcp'): object => ({
  ...(ip !== undefined && { IP: ip }),
  PrivatePort: privatePort,
  PublicPort: publicPort,
  Type: type,
});

t.test('a container as the engine lists it', async (t) => {
  const [container] = parseContainers([
    {
      Id: id,
      Names: ['/other/alias', '/web'],
      Image: 'nginx',
      Ports: [
        { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
        { IP: '::', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
        { PrivatePort: 443, Type: 'tcp' },
        { PrivatePort: 444, PublicPort: 0, Type: 'tcp' },
      ],
      Labels: { a: 'b' },
      State: 'running',
    },
  ]);
  t.same(container, {
    id,
    name: 'web',
    labels: { a: 'b' },
    ports: [{ proto: 'tcp', addresses: EVERY_ADDRESS, port: 8080, privatePort: 80 }],
    endpoints: [],
  });
  t.equal(container && nameContainer(container), 'container web (1a2b3c4d5e6f)');
});

t.test('what may be missing, or null', async (t) => {
  t.same(parseContainers([]), []);
  t.same(
    parseContainers([
      { Id: id, Names: null, Ports: null, Labels: null },
      { Id: 'short', Names: ['/'] },
    ]),
    [
      { id, name: '1a2b3c4d5e6f', labels: {}, ports: [], endpoints: [] },
      { id: 'short', name: 'short', labels: {}, ports: [], endpoints: [] },
    ],
  );
  t.match(parseContainers([{ Id: id, Names: ['/a/b'] }]), [{ name: 'a/b' }]);
});

t.test('addresses stay what they are, and only the two that stand for every one are joined', async (t) => {
  const at = (addresses: readonly string[], port: number, privatePort = 80, proto = 'tcp'): object => ({
    proto,
    addresses,
    port,
    privatePort,
  });
  t.same(portsOf(port('127.0.0.1', 81), port('::', 82), port('0.0.0.0', 83)), [
    at(['127.0.0.1'], 81),
    at(['::'], 82),
    at(['0.0.0.0'], 83),
  ]);
  t.same(portsOf(port(undefined, 81), port('', 82)), [at(EVERY_ADDRESS, 81), at(EVERY_ADDRESS, 82)]);
  t.same(portsOf(port('::', 81), port('10.0.0.1', 81), port('0.0.0.0', 81)), [
    at(EVERY_ADDRESS, 81),
    at(['10.0.0.1'], 81),
  ]);
  t.same(portsOf(port('0:0::1', 81), port('0.0.0.0', 81), port('0.0.0.0', 81)), [
    at(['::1'], 81),
    at(['0.0.0.0'], 81),
  ]);
  t.same(
    portsOf(
      port('0.0.0.0', 81, 80),
      port('::', 81, 90),
      port('0.0.0.0', 82, 1, 'udp'),
      port('::', 82, 1, 'sctp'),
    ),
    [at(['0.0.0.0'], 81), at(['::'], 81, 90), at(['0.0.0.0'], 82, 1, 'udp'), at(['::'], 82, 1, 'sctp')],
    'other ports of the container and other protocols are others',
  );
});

t.test('what is not as it should be is a problem of that container alone', async (t) => {
  const wrong: [unknown, RegExp][] = [
    [[1], /a container is no object/],
    [[null], /a container is no object/],
    [[{}], /a container has no Id/],
    [[{ Id: '' }], /a container has no Id/],
    [[{ Id: id, Names: 'web' }], /container 1a2b3c4d5e6f: Names is no list/],
    [[{ Id: id, Labels: [] }], /container 1a2b3c4d5e6f: Labels is no object/],
    [[{ Id: id, Ports: {} }], /container 1a2b3c4d5e6f: Ports is no list/],
    [[{ Id: id, Ports: [null] }], /container 1a2b3c4d5e6f: a port is no object/],
    [[{ Id: id, Ports: [port('', 70_000)] }], /has the port \{.*70000/],
    [[{ Id: id, Ports: [port('', 80, 0)] }], /has the port/],
    [[{ Id: id, Ports: [port('', 80.5)] }], /has the port/],
    [[{ Id: id, Ports: [{ ...port('', 80), Type: 6 }] }], /has the port/],
    [[{ Id: id, Ports: [port('somewhere', 80)] }], /published on the address "somewhere"/],
    [[{ Id: id, Ports: [{ ...port('', 80), IP: 1 }] }], /published on the address 1/],
  ];
  for (const [answer, problem] of wrong) {
    const entries = answer as unknown[];
    const containers = parseContainers([...entries, { Id: 'b', Ports: [port('', 80)] }]);
    t.match(containers, [
      { ports: [], problem },
      { id: 'b', ports: [{ port: 80 }] },
    ]);
    t.match(nameContainer(containers[0] as Container), /^container number 1 of the list \(/);
  }
  t.throws(() => parseContainers({ message: 'x' }), { name: 'OperationError', message: /it is no list/ });
});
