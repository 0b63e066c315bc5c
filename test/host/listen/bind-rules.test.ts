import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { bindRulesOf, isOwnAddress, LocalAddresses, needsWildcard } from '../../../host/listen/bind-rules.js';
import { Listener } from '../../../host/listen/listener.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { freePort } from '../../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

/** macOS's rule, for every port there is: a free one cannot be low. */
const LOW = { wildcardOnlyBelow: 65_536, sharesPorts: false };
const notExpected = (ip: string): never => {
  throw new Error(`${ip} is missing`);
};

t.test('each platform has its rules', async (t) => {
  t.same(bindRulesOf('linux', 1000), { wildcardOnlyBelow: 0, sharesPorts: false });
  t.same(bindRulesOf('darwin', 501), { wildcardOnlyBelow: 1024, sharesPorts: true });
  t.same(bindRulesOf('darwin', 0), { wildcardOnlyBelow: 0, sharesPorts: true }, 'root may have every port');
  const mac = bindRulesOf('darwin', 501);
  t.equal(needsWildcard('127.0.0.1', 1023, mac), true);
  t.equal(needsWildcard('127.0.0.1', 1024, mac), false);
  t.equal(needsWildcard('127.0.0.1', 0, mac), false, 'a free port is never low');
  for (const ip of ['0.0.0.0', '::']) t.equal(needsWildcard(ip, 80, mac), false);
});

t.test('addresses with and without a zone', async (t) => {
  const interfaces = { en0: [{ address: 'fe80::1' }] } as never;
  t.equal(isOwnAddress('fe80::1%en0', interfaces), true);
  t.equal(isOwnAddress('fe80::2', interfaces), false);
  t.equal(new LocalAddresses('fe80::1').allows('fe80::1%en0'), true);
  t.equal(new LocalAddresses('fe80::1%en0').allows('fe80::1%en1'), false);
  t.equal(new LocalAddresses('fe80::1%en0').allows('fe80::1%en0'), true);
  t.equal(new LocalAddresses('::1').allows(undefined), false, 'who does not say where is not let in');
});

t.test('a low port of localhost: bound on every address, and only localhost served', async (t) => {
  const port = await freePort();
  const { logger, lines } = new LogRecorder();
  const listener = await Listener.open(rule(['127.0.0.1'], port), logger, notExpected, LOW);
  t.teardown(() => listener.close());
  t.equal(listener.filtered, true);
  t.same(listener.addresses, [`0.0.0.0:${port}`]);
  const clients: RawSocket[] = [];
  const stranger = net.connect({ host: '127.0.0.2', port });
  stranger.on('error', () => {});
  const ended = new Promise((resolve) => stranger.on('close', resolve));
  const accepted = new Promise<RawSocket>((resolve) =>
    listener.start((socket) => {
      clients.push(socket);
      resolve(socket);
    }),
  );
  await ended;
  t.equal(stranger.bytesRead, 0);
  t.equal(clients.length, 0, 'it was reset, and nobody heard of it');
  const client = net.connect({ host: '127.0.0.1', port });
  await once(client, 'connect');
  t.equal((await accepted).local?.ip, '127.0.0.1');
  client.destroy();
  clients[0]?.reset();
  t.match(
    lines.filter(({ msg }) => /reset/.test(String(msg))),
    [
      {
        by: '127.0.0.2',
        msg: `a client was reset that has come by another address than that of 127.0.0.1:${port}`,
      },
    ],
  );
});

t.test('both families, and an address that the machine does not have', { skip: WITHOUT_IPV6 }, async (t) => {
  const port = await freePort();
  const { logger } = new LogRecorder();
  const missing: string[] = [];
  const open = (...ips: string[]) =>
    Listener.open(rule(ips, port), logger, (ip) => void missing.push(ip), LOW);
  const both = await open('127.0.0.1', '::1', '2001:db8::1');
  t.same(both.addresses, [`0.0.0.0:${port}`, `[::]:${port}`]);
  t.same(missing, ['2001:db8::1']);
  await both.close();
  await t.rejects(open('192.0.2.1'), { cause: { code: 'EADDRNOTAVAIL' } });
  const twice = await open('127.0.0.1', '127.0.0.1');
  t.same(twice.addresses, [`0.0.0.0:${port}`]);
  await twice.close();
  const every = await open('0.0.0.0');
  t.equal(every.filtered, false);
  await every.close();
});

function rule(hostIps: string[], hostPort: number): ForwardRule {
  return { proto: 'tcp', hostIps, hostPort, destination: { proto: 'tcp', ip: '127.0.0.1', port: 80 } };
}
