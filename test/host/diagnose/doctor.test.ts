import t from 'tap';
import { judge } from '../../../host/diagnose/doctor.js';
import type { Complaint, Evidence, HostFacts } from '../../../host/diagnose/evidence.js';
import type { PathReport } from '../../../host/diagnose/path.js';
import type { ProbeReport } from '../../../host/diagnose/probe.js';
import type { EndingReport } from '../../../host/records/reports.js';
import type {
  ContainerReport,
  DropReport,
  ListenerReport,
  WayReport,
} from '../../../protocol/services/inspect.js';
import { fakeConnection, fakeStatus } from '../../fixtures/control-reports.js';
import { HOST_PID, makeContainer, makeForward, makePath, makeWay } from './fixtures/make-path.js';

const nginx: ListenerReport = { proto: 'tcp', ip: '0.0.0.0', port: 8080, pid: 5, command: 'nginx' };

function withWay(changes: Partial<WayReport>, path: Partial<PathReport> = {}): PathReport {
  return makePath({ guest: { found: makeWay(changes) }, ...path });
}

function withContainer(changes: Partial<ContainerReport>, way: Partial<WayReport> = {}): PathReport {
  return withWay({ container: { found: makeContainer(changes) }, ...way });
}

const { privatePort: _, ...PORTLESS } = makeContainer({ published: [] });

const { in_ip: __, ...TO_PATH } = makeForward();

/** A forward to a port of the VM itself. */
const TO_VM = makeForward({ id: 'tcp localhost:1', destination: 'tcp 127.0.0.1:80', in_ip: '127.0.0.1' });

function failed(ending: Partial<EndingReport>): ProbeReport {
  const record = {
    ...fakeConnection(),
    ending: {
      ...{ termination: 'SC', by: 'server', phase: 'dialling', how: 'error', message: 'it failed' },
      ...ending,
    },
  };
  return { address: '127.0.0.1:8080', outcome: 'failed', record };
}

const FACTS: HostFacts = { version: '1', platform: 'linux', clients: 1, maxClients: 10 };

/** Docker Desktop's own forwarder has the port. */
const BACKEND: ListenerReport = { ...nginx, ip: '::', command: 'com.docker.backend' };

const UNREACHABLE = {
  ...fakeStatus({ state: 'waiting' }).channel,
  address: 'tcp:192.168.64.2:4000',
  lastError: 'cannot connect to tcp:192.168.64.2:4000: EHOSTUNREACH (no route leads there)',
};

const DROP: DropReport = { by: 'nft', chain: 'c', rule: 'drop', packets: 7 };

const NO_CONTAINER: Partial<WayReport> = { container: { found: null }, listeners: { found: [] } };

const CASES: readonly [
  name: string,
  evidence: Evidence,
  complaint: Partial<Complaint> | undefined | RegExp,
][] = [
  ['all is well', { path: makePath() }, undefined],
  [
    'and a connection has worked',
    { path: makePath(), probe: { address: '', outcome: 'connected' } },
    undefined,
  ],
  ['a plain guest says nothing', { path: makePath(), probe: { address: '', outcome: 'unknown' } }, undefined],
  [
    'another process listens on an address of its own',
    {
      path: makePath({
        listeners: { found: [nginx, { ...nginx, ip: '127.0.0.1', command: 'node', pid: 6 }] },
      }),
    },
    /^node \(pid 6\) listens on 127\.0\.0\.1:8080 itself, and gets what is sent there instead of tcp \*:8080$/,
  ],
  [
    'another process has the port of a forward',
    { path: makePath({ forwards: [makeForward({ state: 'failed' })], listeners: { found: [nginx] } }) },
    {
      hop: 'host',
      advice: 'stop nginx (pid 5), and portferry takes the port by itself; or use another port',
    },
  ],
  [
    'a forward failed for another reason',
    {
      path: makePath({
        forwards: [makeForward({ state: 'failed', error: 'no such address' })],
        listeners: { found: [] },
      }),
    },
    /^tcp \*:8080 is not listened on: no such address$/,
  ],
  [
    'a forward is refused',
    { path: makePath({ forwards: [makeForward({ state: 'refused' })], listeners: { unseen: 'x' } }) },
    /is refused: nobody knows why$/,
  ],
  [
    'no channel',
    { path: makePath({ channel: fakeStatus({ state: 'waiting' }).channel }) },
    /^there has been no channel to the guest on unix:\/c\.sock since 2026-01-01T00:00:00\.000Z$/,
  ],
  [
    'a silent guest',
    { path: makePath({ guest: { unseen: 'no answer', silent: true } }) },
    /does not answer: no answer/,
  ],
  ['a guest that cannot be asked', { path: makePath({ guest: { unseen: 'plain' } }) }, undefined],
  ['dead', { path: withContainer({ state: 'dead' }) }, { advice: 'docker logs web may say why' }],
  ['a state of any name', { path: withContainer({ state: '__proto__' }) }, /does not run: it is __proto__$/],
  ['one restart', { path: withContainer({ restarts: 1, upSeconds: 1 }) }, undefined],
  ['many restarts, long ago', { path: withContainer({ restarts: 9 }) }, undefined],
  [
    'many restarts',
    { path: withContainer({ restarts: 9, upSeconds: 1.2 }) },
    /started anew 9 times, 1 s ago/,
  ],
  [
    'nobody forwards what a container publishes',
    { path: makePath({ forwards: [], listeners: { found: [] } }) },
    /publishes 8080 in the VM, and nothing on the host forwards it$/,
  ],
  [
    'nothing anywhere, and the host cannot be seen',
    { path: withWay(NO_CONTAINER, { forwards: [], listeners: { unseen: 'x' } }) },
    /^tcp 8080 is not forwarded: the host has no such forward, and nothing in the VM publishes it$/,
  ],
  [
    'a server in a container with the network of the host listens on 127.0.0.1',
    {
      path: withContainer(
        { networkDriver: 'host' },
        { inside: { found: [{ proto: 'tcp', ip: '127.0.0.1', port: 80 }] } },
      ),
    },
    undefined,
  ],
  ['inside cannot be seen', { path: withContainer({}, { inside: { unseen: 'x' } }) }, undefined],
  [
    'a firewall has stopped something, and the connection works',
    {
      path: withWay({ drops: { found: [{ by: 'nft', chain: 'c', rule: 'drop', packets: 1 }] } }),
      probe: { address: '', outcome: 'connected' },
    },
    undefined,
  ],
  ['the firewall cannot be seen', { path: withWay({ drops: { unseen: 'x' } }) }, undefined],
  [
    'nothing listens in the VM',
    { path: withWay(NO_CONTAINER, { forwards: [TO_VM] }) },
    /^nothing in the VM listens on 127\.0\.0\.1:80, where tcp localhost:1 leads$/,
  ],
  [
    'something listens on every IPv6 address, which takes both',
    {
      path: withWay(
        { container: { found: null }, listeners: { found: [{ ...nginx, ip: '::' }] } },
        { forwards: [TO_VM] },
      ),
    },
    undefined,
  ],
  [
    'an IPv6 destination, and a server of IPv4 alone',
    {
      path: withWay(
        { container: { found: null }, listeners: { found: [nginx] } },
        { forwards: [{ ...TO_VM, in_ip: '::1', destination: 'tcp [::1]:80' }] },
      ),
    },
    /listens on \[::1\]:80, where tcp localhost:1 leads: nginx \(pid 5\) listens on 0\.0\.0\.0:8080$/,
  ],
  [
    'the listeners of the VM cannot be seen',
    { path: withWay({ container: { unseen: 'x' }, listeners: { unseen: 'x' } }, { forwards: [TO_VM] }) },
    undefined,
  ],
  [
    'the rule of DNAT is missing',
    {
      path: withWay(
        { dnat: { found: [] }, listeners: { found: [{ ...nginx, command: 'dockerd' }] } },
        { forwards: [TO_VM] },
      ),
    },
    { hop: 'DNAT' },
  ],
  [
    'the rule of DNAT is missing, and docker-proxy is there',
    { path: withWay({ dnat: { found: [] } }, { forwards: [TO_VM] }) },
    undefined,
  ],
  ['rules cannot be seen', { path: withWay({ dnat: { unseen: 'x' } }, { forwards: [TO_VM] }) }, undefined],
  [
    'the dial takes for ever',
    { path: makePath(), probe: { address: '', outcome: 'slow' } },
    /^the guest has been dialling tcp 172\.17\.0\.2:80 for seconds/,
  ],
  [
    'the port cannot be connected to',
    { path: makePath(), probe: { address: '127.0.0.1:8080', outcome: 'failed', error: 'EMFILE' } },
    /^127\.0\.0\.1:8080 cannot be connected to: EMFILE$/,
  ],
  [
    'refused',
    { path: makePath(), probe: failed({ code: 'ECONNREFUSED' }) },
    { advice: /nothing listens there/ } as never,
  ],
  ['no answer', { path: makePath(), probe: failed({ code: 'ETIMEDOUT' }) }, { advice: /firewall/ } as never],
  [
    'no route',
    { path: makePath(), probe: failed({ code: 'EHOSTUNREACH' }) },
    { advice: /no route/ } as never,
  ],
  [
    'reset',
    { path: makePath(), probe: failed({ code: 'ECONNRESET' }) },
    { advice: /server's own log/ } as never,
  ],
  [
    'a rule of the guest',
    { path: makePath(), probe: failed({ by: 'policy', code: 'EACCES' }) },
    { hop: 'guest', advice: "allow it in the guest: portferry-guest --allow-dial 'tcp 172.17.0.2:80'" },
  ],
  [
    'the channel',
    { path: makePath(), probe: failed({ by: 'channel' }) },
    { hop: 'channel', advice: /logs/ } as never,
  ],
  [
    'a container that publishes nothing, and is asked about by its name',
    {
      path: makePath({
        forwards: [],
        guest: { found: makeWay({ container: { found: makeContainer({ published: [] }) } }) },
      }),
    },
    { hop: 'container', advice: 'start it again with -p HOST_PORT:80' },
  ],
  [
    'and whose port is not known',
    { path: makePath({ forwards: [], guest: { found: makeWay({ container: { found: PORTLESS } }) } }) },
    { hop: 'container', advice: 'start it again with -p HOST_PORT:PORT' },
  ],
  [
    'a container listens on the port, and publishes nothing',
    {
      path: withWay(
        { ...NO_CONTAINER, candidates: [{ id: '1a2b3c4d5e6f7a', name: 'web' }] },
        { forwards: [], listeners: { found: [] } },
      ),
    },
    /^tcp 8080 is not forwarded: container web \(1a2b3c4d5e6f\) listens on a port of that number/,
  ],
  [
    'nothing anywhere',
    { path: withWay(NO_CONTAINER, { forwards: [], listeners: { found: [] } }) },
    /nothing listens on it on the host, and nothing in the VM publishes it$/,
  ],
  [
    'nothing anywhere, and the guest cannot be asked',
    { path: makePath({ forwards: [], listeners: { found: [] }, guest: { unseen: 'x' } }) },
    /^tcp 8080 is not forwarded: nothing listens on it on the host$/,
  ],
  [
    'another program, and no forward',
    { path: makePath({ forwards: [], listeners: { found: [nginx] } }) },
    { hop: 'host', advice: /if it is not the one you want to reach/ } as never,
  ],
  [
    'no channel, and the reason',
    { path: makePath({ channel: fakeStatus({ state: 'waiting', lastError: 'gone' }).channel }) },
    /since 2026-01-01T00:00:00\.000Z: gone$/,
  ],
  [
    'a container is paused, and another one restarts',
    { path: withContainer({ state: 'paused' }) },
    { advice: 'docker unpause web' },
  ],
  [
    'it restarts',
    { path: withContainer({ state: 'restarting', exitCode: 4 }) },
    /it is restarting with exit code 4$/,
  ],
  [
    'it was never started',
    { path: withContainer({ state: 'created', exitCode: 0 }) },
    /does not run: it is created$/,
  ],
  [
    'it wants a port that another one has',
    {
      path: withContainer(
        { state: 'created', exitCode: 128 },
        { rivals: [{ id: 'abcdefabcdefab', name: 'old', port: 8080 }] },
      ),
    },
    {
      hop: 'container',
      problem:
        'container web (1a2b3c4d5e6f) does not run: it is created, and container old (abcdefabcdef) publishes port 8080, which it wants',
      advice: 'docker stop old, or give one of them another port; then docker start web',
    },
  ],
  [
    'the engine could not start it',
    { path: withContainer({ state: 'created', exitCode: 127, error: 'no such file' }) },
    /does not run: it is created: no such file$/,
  ],
  ['it has ended', { path: withContainer({ state: 'exited', exitCode: 0 }) }, /is exited with exit code 0$/],
  [
    'nothing listens inside',
    { path: withContainer({}, { inside: { found: [] } }) },
    { hop: 'server', advice: /not yet/ } as never,
  ],
  [
    'something listens inside on another port',
    { path: withContainer({}, { inside: { found: [{ ...nginx, port: 3000 }] } }) },
    /: nginx \(pid 5\) listens on 0\.0\.0\.0:3000$/,
  ],
  [
    'the server listens on its own 127.0.0.1 alone',
    { path: withContainer({}, { inside: { found: [{ ...nginx, ip: '127.0.0.1', port: 80 }] } }) },
    /listens on 127\.0\.0\.1:80 only/,
  ],
  [
    'a firewall stops packets',
    {
      path: withWay({ drops: { found: [{ by: 'nft', chain: 'c', rule: 'tcp dport 80 drop', packets: 1 }] } }),
    },
    /^a firewall rule in the VM stops packets to it: nft, chain c: tcp dport 80 drop$/,
  ],
  [
    'a forward to a unix socket',
    { path: withWay({ container: { found: null } }, { forwards: [TO_PATH] }) },
    undefined,
  ],
  [
    'nothing is seen to listen, and the connection works',
    { path: withWay(NO_CONTAINER, { forwards: [TO_VM] }), probe: { address: '', outcome: 'connected' } },
    undefined,
  ],
  [
    'nothing is seen to listen, and the connection fails otherwise',
    { path: withWay(NO_CONTAINER, { forwards: [TO_VM] }), probe: failed({ code: 'ENETUNREACH' }) },
    { advice: /no route/ } as never,
  ],
  [
    'another process listens on an address that the forward has nothing to do with',
    {
      path: makePath({
        forwards: [makeForward({ addresses: ['127.0.0.1:8080'] })],
        listeners: {
          found: [
            { ...nginx, ip: '127.0.0.1', pid: HOST_PID },
            { ...nginx, ip: '192.168.1.5' },
            { ...nginx, ip: '127.0.0.2' },
          ],
        },
      }),
    },
    undefined,
  ],
  [
    'another process listens on the other address of localhost',
    {
      path: makePath({
        listeners: {
          found: [
            { ...nginx, pid: HOST_PID },
            { ...nginx, ip: '::1', pid: 6 },
          ],
        },
      }),
    },
    /^nginx \(pid 6\) listens on \[::1\]:8080 itself/,
  ],
  [
    'another process listens on 127.0.0.1, and the forward on an address of the network',
    {
      path: makePath({
        listeners: {
          found: [
            { ...nginx, ip: '192.168.1.5', pid: HOST_PID },
            { ...nginx, ip: '127.0.0.1' },
          ],
        },
        forwards: [makeForward({ addresses: ['192.168.1.5:8080'] })],
      }),
    },
    undefined,
  ],
  [
    "Docker's own forwarder has the port",
    { path: makePath({ forwards: [], listeners: { found: [BACKEND] } }) },
    undefined,
  ],
  [
    'and portferry was to forward it, too',
    { path: makePath({ forwards: [makeForward({ state: 'failed' })], listeners: { found: [BACKEND] } }) },
    undefined,
  ],
  [
    'and behind it nobody listens in the container',
    { path: withWay({ inside: { found: [] } }, { forwards: [], listeners: { found: [BACKEND] } }) },
    { hop: 'server' },
  ],
  [
    'and it breaks off what it takes',
    {
      path: makePath({ forwards: [], listeners: { found: [BACKEND] } }),
      probe: { address: '[::]:8080', outcome: 'failed', error: 'it ended the connection at once' },
    },
    { hop: 'host' },
  ],
  [
    'it has a port that no container publishes',
    { path: withWay(NO_CONTAINER, { forwards: [], listeners: { found: [BACKEND] } }) },
    /is not portferry's: com\.docker\.backend \(pid 5\)/,
  ],
  [
    'somebody has the port who cannot be seen',
    { path: makePath({ forwards: [], listeners: { found: [{ proto: 'tcp', ip: '0.0.0.0', port: 8080 }] } }) },
    /is not portferry's: a process that cannot be seen/,
  ],
  [
    'no room for more clients',
    {
      path: makePath(),
      probe: { address: '', outcome: 'unknown' },
      facts: { ...FACTS, clients: 10 },
    },
    /^10 clients are being served, more would need more file descriptors/,
  ],
  [
    'no room, and a plain guest',
    {
      path: makePath(),
      probe: { address: '', outcome: 'unknown', record: fakeConnection() },
      facts: { ...FACTS, clients: 10 },
    },
    undefined,
  ],
  [
    "macOS's permission for the local network",
    { path: makePath({ channel: UNREACHABLE }), facts: { ...FACTS, platform: 'darwin' } },
    { hop: 'channel', advice: /Local Network/ } as never,
  ],
  [
    'no route on Linux',
    { path: makePath({ channel: UNREACHABLE }), facts: FACTS },
    { advice: /^start portferry-guest/ } as never,
  ],
  [
    'a firewall has stopped something before, and nothing of this connection',
    {
      path: withWay({ drops: { found: [DROP] } }),
      before: withWay({ drops: { found: [DROP] } }),
      probe: failed({ code: 'ECONNRESET' }),
    },
    { hop: 'server' },
  ],
  [
    'a firewall has stopped this connection',
    {
      path: withWay({ drops: { found: [DROP, { ...DROP, chain: 'd' }] } }),
      before: withWay({ drops: { found: [DROP, { ...DROP, chain: 'd', packets: 6 }] } }),
      probe: failed({ code: 'ETIMEDOUT' }),
    },
    /nft, chain d: drop$/,
  ],
  [
    'no descriptors in the guest',
    { path: makePath(), probe: failed({ code: 'EMFILE' }) },
    { advice: /open files of the guest/ } as never,
  ],
  [
    'nothing is seen to listen, and the destination gives no answer',
    { path: withWay(NO_CONTAINER, { forwards: [TO_VM] }), probe: { address: '', outcome: 'slow' } },
    /^the guest has been dialling tcp 127\.0\.0\.1:80 for seconds/,
  ],
  ['unhealthy', { path: withContainer({ health: 'unhealthy' }) }, /unhealthy$/],
];

for (const [name, evidence, expected] of CASES)
  t.test(name, async (t) => {
    const complaint = judge(evidence);
    if (expected === undefined) t.equal(complaint, undefined, complaint?.problem ?? 'nothing is wrong');
    else if (expected instanceof RegExp) t.match(complaint, { problem: expected });
    else t.match(complaint, expected);
  });
